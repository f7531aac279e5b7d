"""Tools and a retriever that journal their calls."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple

from crewai.tools import BaseTool
from crewai.tools.tool_failure import ToolFailure
from pydantic import PrivateAttr, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from crewrelay.crews.journal.ambient import Journal, current, under_way
from crewrelay.crews.journal.journaled import JournaledLLM, has_no_time_left
from crewrelay.crews.models.failures import ToolUnavailable, may_pass
from crewrelay.crews.passages.citations import Bibliography
from crewrelay.jobs.errors import RetrievalUnavailable
from crewrelay.jobs.ports import Calls, RelayDue, Retriever
from crewrelay.jobs.records.answer import Passage
from crewrelay.jobs.records.journal import Kind, Reply

_PASSAGES = TypeAdapter(list[Passage])


class ToolFailed(Exception):
    """A tool's failure, in the words that the model reads and the journal keeps."""


class Running(NamedTuple):
    """A tool that is to run. `encode` and `decode` turn its result into JSON and back, `shorten` cuts a failure."""

    tool: BaseTool
    arguments: dict[str, Any]
    run: Callable[[], Any]
    encode: Callable[[Any], dict[str, Any]]
    decode: Callable[[dict[str, Any]], Any]
    shorten: Callable[[str], str]


def journaled_run(running: Running, journal: Journal) -> Any:
    """The journaled result, or else that of the tool. Raises ToolFailed with what a journaled failure said."""
    request = {"tool": running.tool.name, "arguments": to_jsonable_python(in_order(running.arguments), fallback=str)}
    if journal.within:
        request["within"] = journal.within
    try:
        reply = json.loads(journal.calls.call(Kind.TOOL, request, lambda: _paid(running, journal, request)).body)
    except BaseException as error:
        journal.end(error)
        raise
    if "raised" in reply:
        raise ToolFailed(reply["raised"])
    return ToolFailure.model_validate(reply["failure"]) if "failure" in reply else running.decode(reply)


def _paid(running: Running, journal: Journal, request: dict[str, Any]) -> Reply:
    try:
        with under_way(journal, running.tool, request):
            result = running.run()
    except Exception as error:
        if journal.ended:  # by a call that the tool made: it says nothing of the tool
            raise
        if may_pass(error) and not journal.calls.is_last_attempt:
            raise ToolUnavailable(running.tool.name) from error  # the job is retried, and so is the tool
        return _reply(raised=running.shorten(f"{type(error).__name__}: {error}"))
    if journal.ended:  # and the tool has caught it
        raise journal.ended[0]
    if isinstance(result, ToolFailure):
        short = result.model_copy(update={"message": running.shorten(result.message)})
        return _reply(failure=short.model_dump(mode="json"))
    return _reply(**running.encode(result))


class JournaledTool(BaseTool):
    """Wraps any CrewAI tool, which runs only if the journal has no result of the same call."""

    JOURNALS_ITSELF: ClassVar[bool] = True

    _inner: BaseTool = PrivateAttr()
    _calls: Calls = PrivateAttr()
    _model: JournaledLLM = PrivateAttr()

    def __init__(self, inner: BaseTool, model: JournaledLLM, calls: Calls) -> None:
        copied = ("name", "description", "args_schema", "cache_function", "result_as_answer", "max_usage_count")
        super().__init__(
            **{name: getattr(inner, name) for name in copied}, tool_failure_policy=inner.tool_failure_policy
        )
        self.description = inner.description  # else CrewAI puts name and arguments before it a second time
        self._inner = inner
        self._calls = calls
        self._model = model

    def _run(self, **arguments: Any) -> Any:
        inner, fitting = self._inner, self._model.fitting
        running = Running(
            inner,
            arguments,
            run=lambda: inner.run(**arguments),
            encode=lambda result: {"result": fitting(inner.format_output_for_agent(result))},
            decode=lambda reply: str(reply["result"]),
            shorten=fitting,
        )
        return journaled_run(running, current(self._calls))


class JournaledRetriever:
    """Wraps any retriever. A resumed run gets the passages that the first one found, with the same numbers."""

    def __init__(self, inner: Retriever, calls: Calls, bibliography: Bibliography) -> None:
        self._inner = inner
        self._calls = calls
        self._bibliography = bibliography
        for reply in calls.journaled(Kind.RETRIEVAL):  # so that no new passage gets one of their numbers
            with suppress(ValidationError):  # what the knowledge or memory of a crew within a tool has asked
                bibliography.number(_PASSAGES.validate_json(reply.body))

    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        """The timeout is what remains of the run; the argument is ignored."""

        def pay() -> Reply:
            try:
                found = self._inner.retrieve(query, top_k, self._calls.remaining)
            except RetrievalUnavailable as error:
                if has_no_time_left(self._calls):
                    raise RelayDue("a search did not end in time") from error
                raise
            return Reply(body=_PASSAGES.dump_json(self._bibliography.number(found)).decode())

        try:
            reply = self._calls.call(Kind.RETRIEVAL, {"query": query, "top_k": top_k}, pay)
        except BaseException as error:
            self._calls.stop(error)
            raise
        return _PASSAGES.validate_json(reply.body)


def _reply(**outcome: Any) -> Reply:
    return Reply(body=json.dumps(outcome))


def in_order(value: Any) -> Any:
    """The value with its sets sorted: their order differs between processes."""
    if isinstance(value, dict):
        return {name: in_order(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [in_order(one) for one in value]
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else value
