"""Sends what CrewAI asks a human to the journal of the run: see ambient.py. Without an answer the job waits.

Outside of a run it is asked in the terminal, as CrewAI does.
"""

import builtins
import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from crewai.core.providers.human_input import SyncHumanInputProvider
from crewai.core.providers.human_input import get_provider as _providers
from crewai.flow.async_feedback import PendingFeedbackContext
from crewai.flow.flow import Flow
from crewai.flow.flow_context import current_flow_method_name

from crewrelay.crews.journal.ambient import asked_of_a_human, in_a_run
from crewrelay.jobs.records.questions import Question

_REVIEW = "Is it good as it is? Answer with an empty feedback, or say what to change."

_resolve_provider: Any = Flow._resolve_feedback_provider
_collapse: Any = Flow._collapse_to_outcome
_ask: Any = Flow.ask
_input = builtins.input


class Reviewer(SyncHumanInputProvider):
    """Has an agent's answer reviewed, for Task(human_input=True), until the human is content."""

    def handle_feedback(self, formatted_answer: Any, context: Any) -> Any:
        answer = formatted_answer
        while context.ask_for_human_input:
            if self._is_content(answer, context):
                break
            answer = context._invoke_loop()
        return answer

    async def handle_feedback_async(self, formatted_answer: Any, context: Any) -> Any:
        answer = formatted_answer
        while context.ask_for_human_input:
            if self._is_content(answer, context):
                break
            answer = await context._ainvoke_loop()
        return answer

    def _is_content(self, answer: Any, context: Any) -> bool:
        task = context.task
        name = task.name or task.description if task else ""
        feedback = asked_of_a_human(Question(message=_REVIEW, task=name, output=self._get_output_string(answer)))
        assert feedback  # it is only made in a run
        if feedback.accepted or not feedback.text.strip():
            context.ask_for_human_input = False
            return True
        context.messages.append(context._format_feedback_message(feedback.text))
        return False


def review_provider() -> Any:
    return Reviewer() if in_a_run() else _providers()


class FlowReviewer:
    """Has the output of a flow's step reviewed, for @human_feedback."""

    def request_feedback(self, context: Any, flow: Any) -> str:
        """What the human says; the chosen option is its first line."""
        question = Question(
            message=context.message,
            task=context.method_name,
            output=_shown(context.method_output),
            options=tuple(context.emit or ()),
            default=context.default_outcome,
        )
        feedback = asked_of_a_human(question)
        assert feedback
        return "\n".join(said for said in (feedback.option, feedback.text) if said)


def _shown(output: Any) -> str:
    """As JSON, if it is no text."""
    safe = PendingFeedbackContext._make_json_safe(output)
    text = safe if isinstance(safe, str) else json.dumps(safe, ensure_ascii=False, indent=2)
    return without_addresses(text)


def without_addresses(text: str) -> str:
    """Of objects: they differ in a resumed run."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def feedback_provider(flow: Any, definition: Any) -> Any:
    """In a run the job waits, also where a project names a provider of its own."""
    return FlowReviewer() if in_a_run() else _resolve_provider(flow, definition)


def outcome(flow: Any, feedback: str, outcomes: Any, llm: Any) -> str:
    """An option that was chosen is the outcome; CrewAI would ask a model which one is meant."""
    first_line = feedback.partition("\n")[0]
    return first_line if first_line in outcomes else str(_collapse(flow, feedback, outcomes, llm))


def ask(flow: Any, message: str, timeout: float | None = None, metadata: dict[str, Any] | None = None) -> str | None:
    """Flow.ask: with a `timeout` in seconds, the flow goes on with None when it is over."""
    if not in_a_run():
        answered: str | None = _ask(flow, message, timeout, metadata)
        return answered
    seconds = None if timeout is None else timedelta(seconds=timeout)
    default = None if timeout is None else ""
    method = current_flow_method_name.get("")
    feedback = asked_of_a_human(Question(message=message, task=method, default=default, timeout=seconds))
    return feedback.text if feedback and not feedback.expired else None


def typed(prompt: object = "") -> str:
    """input(): in a run, the job waits for the line."""
    message = str(prompt).strip() or "input"
    feedback = asked_of_a_human(Question(message=message, task=current_flow_method_name.get("")))
    return _input(prompt) if feedback is None else feedback.text


def answered(message: str, options: Sequence[str], default: str | None, timeout: float | None) -> str | None:
    """See `crewrelay.ask`; None outside of a run."""
    seconds = None if timeout is None else timedelta(seconds=timeout)
    chosen = tuple(options)
    question = Question(
        message=message,
        task=current_flow_method_name.get(""),
        options=chosen,
        must_choose=bool(chosen),
        default=default,
        timeout=seconds,
    )
    feedback = asked_of_a_human(question)
    return None if feedback is None else feedback.option or feedback.text
