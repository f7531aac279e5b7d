"""Tools and a retriever that journal their calls."""

import json
from datetime import timedelta
from typing import Any

from crewai.tools import BaseTool
from crewai.tools.tool_failure import ToolFailure
from pydantic import PrivateAttr, TypeAdapter
from pydantic_core import to_jsonable_python

from crewrelay.crews.citations import Bibliography
from crewrelay.crews.failures import ToolUnavailable, may_pass
from crewrelay.crews.journaled import JournaledLLM, has_no_time_left
from crewrelay.jobs.answer import Passage
from crewrelay.jobs.errors import RetrievalUnavailable
from crewrelay.jobs.journal import Kind, Reply
from crewrelay.jobs.ports import Calls, RelayDue, Retriever

_PASSAGES = TypeAdapter(list[Passage])


class ToolFailed(Exception):
    """A tool's failure, in the words that the model reads and the journal keeps."""


class JournaledTool(BaseTool):
    """Wraps any CrewAI tool, which runs only if the journal has no result of the same call."""

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
        try:
            request = {"tool": self.name, "arguments": to_jsonable_python(_in_order(arguments), fallback=str)}
            reply = json.loads(self._calls.call(Kind.TOOL, request, lambda: self._paid(arguments)).body)
        except BaseException as error:
            self._calls.stop(error)
            raise
        if "raised" in reply:
            raise ToolFailed(reply["raised"])
        return ToolFailure.model_validate(reply["failure"]) if "failure" in reply else str(reply["result"])

    def _paid(self, arguments: dict[str, Any]) -> Reply:
        try:
            result = self._inner.run(**arguments)
        except Exception as error:
            if may_pass(error) and not self._calls.is_last_attempt:
                raise ToolUnavailable(self.name) from error  # the job is retried, and so is the tool
            return _reply(raised=self._model.fitting(f"{type(error).__name__}: {error}"))
        if isinstance(result, ToolFailure):
            fitting = result.model_copy(update={"message": self._model.fitting(result.message)})
            return _reply(failure=fitting.model_dump(mode="json"))
        return _reply(result=self._model.fitting(self._inner.format_output_for_agent(result)))


class JournaledRetriever:
    """Wraps any retriever. A resumed run gets the passages that the first one found, with the same numbers."""

    def __init__(self, inner: Retriever, calls: Calls, bibliography: Bibliography) -> None:
        self._inner = inner
        self._calls = calls
        self._bibliography = bibliography
        for reply in calls.journaled(Kind.RETRIEVAL):  # so that no new passage gets one of their numbers
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


def _in_order(value: Any) -> Any:
    """The value with its sets sorted: their order differs between processes."""
    if isinstance(value, dict):
        return {name: _in_order(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_in_order(one) for one in value]
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else value
