"""A CrewAI model that journals its calls: one that was paid for is replayed, never paid again.

The crew always gets what was read back from the journal, in the first run too, so a resumed run can't differ.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from json import JSONDecodeError
from typing import Any, ClassVar, NamedTuple

from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, call_stop_override, llm_call_context
from crewai.utilities.agent_utils import is_context_length_exceeded
from pydantic import BaseModel, PrivateAttr, ValidationError
from pydantic_core import to_jsonable_python

from crewrelay.crews.journal.ambient import Journal, asking, current
from crewrelay.crews.journal.replies import MisshapenReply, decoded, encoded, encoded_misshapen
from crewrelay.crews.models.failures import is_lost_connection
from crewrelay.crews.models.metering import metered, name_of
from crewrelay.crews.models.models import for_one_call
from crewrelay.crews.models.reading import summary_of
from crewrelay.jobs.ports import Calls, RelayDue
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.prices import Prices

CUT = "\n[The rest is left out: it is too long for this model.]"
_TOO_SHORT = timedelta(seconds=1)  # for any call; Bedrock's timeouts are whole seconds
_CHARACTERS_A_TOKEN = 4
_LARGEST_SHARE = 0.25  # of the context window, as CrewAI has it
_OF_MEMORY = "crewai.memory.analyze"


def has_no_time_left(calls: Calls) -> bool:
    """Whether a call that was cut short is no error, but the end of its run."""
    return calls.remaining <= _TOO_SHORT


def fair_share(window: int) -> int:
    """How many characters one tool's result may have in a context window of so many tokens, by CrewAI's estimate."""
    return int(_LARGEST_SHARE * window * _CHARACTERS_A_TOKEN)


class Asked(NamedTuple):
    """The arguments of BaseLLM.call."""

    messages: Any
    tools: Any = None
    callbacks: Any = None
    available_functions: Any = None
    from_task: Any = None
    from_agent: Any = None
    response_model: type[BaseModel] | None = None

    def shape_for(self, model: BaseLLM) -> type[BaseModel] | None:
        """What the answer is parsed into."""
        shape = self.response_model or getattr(model, "response_format", None)
        return shape if isinstance(shape, type) and issubclass(shape, BaseModel) else None


def journaled_call(
    model: BaseLLM, asked: Asked, journal: Journal, ask: Callable[[BaseLLM], Any], speaker: BaseLLM | None = None
) -> Any:
    """The journaled answer, or else that of `ask`, which is given a copy of the model for this one call.

    `speaker` is what the crew knows as the model: it counts tokens and emits events.
    """
    speaker, calls, shape = speaker or model, journal.calls, asked.shape_for(model)
    request = _request(model, asked, speaker.stop_sequences, shape, journal.within)
    paid = False

    def pay() -> Reply:
        nonlocal paid
        paid = True
        inner = for_one_call(model, calls.remaining.total_seconds())
        try:
            with asking(), call_stop_override(inner, speaker.stop_sequences):
                body = encoded(ask(inner), request)
        except ValidationError as error:  # the model has answered, so it is paid
            body = encoded_misshapen(error)
        except JSONDecodeError as error:
            raise ConnectionError(f"its answer broke off: {error}") from error
        except Exception as error:
            if is_lost_connection(error) and has_no_time_left(calls):
                raise RelayDue("a call did not end in time") from error
            raise
        return metered(inner, body, journal.prices)

    try:
        reply = calls.call(Kind.MODEL, request, pay)
        answer = decoded(reply.body, shape)
    except BaseException as error:
        if not _is_expected(error, shape):
            journal.end(error)
        raise
    _count(speaker, reply)
    if not paid:  # else the model has done it
        _report(speaker, answer, reply, asked)
    return answer


def _is_expected(error: BaseException, shape: type[BaseModel] | None) -> bool:
    """CrewAI shortens a conversation that is too long and asks again; its memory does without what a model has found
    out, if that is not in its shape. Every other error ends the run.
    """
    if isinstance(error, MisshapenReply):
        return shape is not None and shape.__module__ == _OF_MEMORY
    return isinstance(error, Exception) and is_context_length_exceeded(error)


def _request(
    model: BaseLLM, asked: Asked, stop: list[str], shape: type[BaseModel] | None, within: dict[str, Any] | None
) -> dict[str, Any]:
    content = {
        "model": name_of(model),
        "messages": asked.messages,
        "tools": asked.tools,
        "response": shape and shape.model_json_schema(),
        "stop": stop,
    }
    if within:
        content["within"] = within
    request: dict[str, Any] = to_jsonable_python(content, fallback=str)
    return request


def _count(speaker: BaseLLM, reply: Reply) -> None:
    speaker._token_usage["prompt_tokens"] += reply.prompt_tokens
    speaker._token_usage["completion_tokens"] += reply.completion_tokens
    speaker._token_usage["total_tokens"] += reply.prompt_tokens + reply.completion_tokens
    speaker._token_usage["successful_requests"] += 1


def _report(speaker: BaseLLM, answer: Any, reply: Reply, asked: Asked) -> None:
    """Emit CrewAI's events for a call that was replayed."""
    with llm_call_context():
        speaker._emit_call_started_event(
            messages=asked.messages,
            tools=asked.tools,
            callbacks=asked.callbacks,
            available_functions=asked.available_functions,
            from_task=asked.from_task,
            from_agent=asked.from_agent,
        )
        speaker._emit_call_completed_event(
            response=answer,
            call_type=LLMCallType.TOOL_CALL if isinstance(answer, list) else LLMCallType.LLM_CALL,
            from_task=asked.from_task,
            from_agent=asked.from_agent,
            messages=asked.messages,
            usage={"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens},
        )


def fitting(model: BaseLLM, text: str) -> str:
    """A tool's result, cut to its share of the model's context window.

    Tokens are estimated: OpenAI's and Bedrock's models would count them by a request, past the journal.
    """
    while True:
        tokens = BaseLLM.get_input_tokens_count(model, text)
        share = _LARGEST_SHARE * model.get_context_window_size() / tokens if tokens else 1
        if share >= 1:
            return text
        keep = int(len(text.removesuffix(CUT)) * share * 0.95) - len(CUT)
        text = text[: max(0, keep)] + CUT
        if keep <= 0:
            return text


class JournaledLLM(BaseLLM):
    """Wraps any CrewAI model, which is called only if the journal has no reply."""

    JOURNALS_ITSELF: ClassVar[bool] = True

    _inner: BaseLLM = PrivateAttr()
    _calls: Calls = PrivateAttr()
    _prices: Prices = PrivateAttr()

    def __init__(self, inner: BaseLLM, calls: Calls, prices: Prices | None = None) -> None:
        """Without `prices`, costs are unknown."""
        super().__init__(model=inner.model, provider=inner.provider, stop=inner.stop)
        self._inner = inner
        self._calls = calls
        self._prices = prices or Prices()

    def call(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        asked = Asked(messages, tools, callbacks, available_functions, from_task, from_agent, response_model)
        journal = current(self._calls, self._prices)
        return journaled_call(self._inner, asked, journal, lambda inner: inner.call(*asked), speaker=self)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """CrewAI uses this only to summarise the parts of a conversation that is too long, concurrently."""
        reply = await asyncio.to_thread(self.call, *args, **kwargs)
        return summary_of(reply) if isinstance(reply, str) else reply

    def supports_function_calling(self) -> bool:
        supports = getattr(self._inner, "supports_function_calling", None)  # not every model has the method
        return bool(supports and supports())

    def supports_stop_words(self) -> bool:
        return self._inner.supports_stop_words()

    def supports_multimodal(self) -> bool:
        return self._inner.supports_multimodal()

    def get_context_window_size(self) -> int:
        return self._inner.get_context_window_size()

    def is_tool_result_overflowing_threshold(self, tool_result: str) -> tuple[bool, int]:
        """Never: CrewAI would put the result into a file with a random name, and name it in the next prompt."""
        return False, self.get_input_tokens_count(tool_result)

    def fitting(self, text: str) -> str:
        return fitting(self, text)
