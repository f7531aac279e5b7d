"""The model that needs no key and no network: it answers by quoting.

With tools and no result yet it asks for a search; with passages it picks sentences as notes, the best one first; with
notes it lists them by source. Every sentence is a verbatim quotation from the passage whose number it has. It doesn't
translate, and says so if the answer was asked for in a language that it has no texts in.
"""

import json
import re
from typing import Any, ClassVar

from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context

from crewrelay.catalogue.definition import SEARCH
from crewrelay.crews.keyless import phrases, sentences
from crewrelay.crews.keyless.sentences import Sentence
from crewrelay.crews.passages.search import unfenced

_NOTE = re.compile(r"^- (.+) \[(\d+)\]$", re.MULTILINE)
_NO_PHRASES = "No {language} wording: this model quotes and does not translate."


class ExtractiveLLM(BaseLLM):
    """A deterministic CrewAI model that answers from retrieved passages by quoting them."""

    NAME: ClassVar[str] = "crewrelay/extractive"
    VERSION: ClassVar[int] = 3  # raise it when it replies otherwise to the same prompt

    def call(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        with llm_call_context():
            self._emit_call_started_event(
                messages=messages,
                tools=tools,
                callbacks=callbacks,
                available_functions=available_functions,
                from_task=from_task,
                from_agent=from_agent,
            )
            task = getattr(from_task, "description", "")
            reply = _reply([messages] if isinstance(messages, str) else messages, tools, task)
            kind = LLMCallType.LLM_CALL if isinstance(reply, str) else LLMCallType.TOOL_CALL
            usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "successful_requests": 1}
            self._token_usage["successful_requests"] += 1
            self._emit_call_completed_event(
                response=reply,
                call_type=kind,
                from_task=from_task,
                from_agent=from_agent,
                messages=messages,
                usage=usage,
            )
            return reply

    def supports_function_calling(self) -> bool:
        return True

    def get_context_window_size(self) -> int:
        return 1_000_000

    def get_input_tokens_count(self, messages: Any, tools: Any = None, response_model: Any = None) -> int:
        """It has no tokens."""
        return 0


def _reply(messages: list[Any], tools: list[dict[str, Any]] | None, task: str) -> Any:
    asked = "\n".join(_text(message) for message in messages if _role(message) != "tool")
    found = [
        _text(message) for message in messages if _role(message) == "tool" and message.get("name", SEARCH) == SEARCH
    ]
    language = _field("Language", asked) or "en"
    topic = _field("Topic", asked) or " ".join((task or asked).split())[:300]
    searches = any(tool.get("function", tool)["name"] == SEARCH for tool in tools or ())
    if searches and not found:
        return [_search(topic)]
    if searches:
        passages = [passage for result in found for passage in unfenced(result)]
        best = sentences.choose(topic, language, passages)
        return "\n".join(f"- {text} [{number}]" for text, number in best) or "The passages hold nothing on this."
    notes = [Sentence(text, int(number)) for text, number in _NOTE.findall(asked)]
    return _answer(language, notes)


def _answer(language: str, notes: list[Sentence]) -> str:
    nothing, manner = phrases.phrases(language)
    if not phrases.are_in(language):
        manner = _NO_PHRASES.format(language=language)
    signature = f"({ExtractiveLLM.NAME}: {manner})"
    if not notes:
        return f"{phrases.NOT_ANSWERABLE}\n\n{nothing}\n\n{signature}"
    numbers = dict.fromkeys(note.number for note in notes)
    paragraphs = (" ".join(f"{note.text} [{number}]" for note in notes if note.number == number) for number in numbers)
    return "\n\n".join((*paragraphs, signature))


def _search(query: str) -> dict[str, Any]:
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": SEARCH, "arguments": json.dumps({"query": query}, ensure_ascii=False)},
    }


def _field(name: str, text: str) -> str | None:
    match = re.search(rf"^[^\S\n]*{name}: (.+)$", text, re.MULTILINE)
    return match[1].strip() if match else None


def _role(message: Any) -> str:
    return message.get("role", "user") if isinstance(message, dict) else "user"


def _text(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else message
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) if content else ""
