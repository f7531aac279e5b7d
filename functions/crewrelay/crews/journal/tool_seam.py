"""Sends every run of a tool to the journal of its run, whoever built the tool: see ambient.py."""

import asyncio
import contextvars
import functools
import json
import threading
from collections.abc import Callable, Coroutine
from inspect import iscoroutine, iscoroutinefunction
from typing import Any, cast

from crewai.agents.agent_executor import AgentExecutor
from crewai.tools import BaseTool
from crewai.tools.agent_tools.base_agent_tools import BaseAgentTool
from crewai.tools.memory_tools import RecallMemoryTool, RememberTool
from crewai.tools.structured_tool import CrewStructuredTool
from pydantic import BaseModel

from crewrelay.crews.journal.ambient import Journal, in_a_run, journal_for
from crewrelay.crews.journal.journaled import CUT, JournaledLLM, fitting
from crewrelay.crews.journal.journaled_tools import Running, journaled_run
from crewrelay.crews.journal.seam import on_a_thread, subclasses, wrap

_LONGEST_FAILURE = 10_000  # characters
_begin_tool: Any = BaseTool.__dict__["__init_subclass__"].__func__
_prepare: Any = AgentExecutor._prepare_tool_result_for_context
_ainvoke: Any = CrewStructuredTool.ainvoke


def wrap_tools() -> None:
    """All subclasses of BaseTool, now and later."""

    def begin(cls: type[BaseTool], /, **options: Any) -> None:
        _begin_tool(cls, **options)
        _wrap_tool(cls)

    BaseTool.__init_subclass__ = classmethod(begin)  # type: ignore[method-assign, assignment]
    for known in subclasses(BaseTool):
        _wrap_tool(known)


def _wrap_tool(cls: type[BaseTool]) -> None:
    # A tool that asks another agent, or the memory, is no call by itself: what these ask is journaled.
    if getattr(cls, "JOURNALS_ITSELF", False) or issubclass(cls, BaseAgentTool | RecallMemoryTool | RememberTool):
        return
    theirs = () if cls.__module__.startswith("crewai.") else ("run", "arun")
    for name in ("_run", "_arun", *theirs):
        wrap(cls, name, _journaled_tool)


def _journaled_tool(method: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(method):

        @functools.wraps(method)
        async def arun(tool: BaseTool, *args: Any, **kwargs: Any) -> Any:
            journal = _journal_of(tool)
            if journal is None:
                return await method(tool, *args, **kwargs)
            return await on_a_thread(
                lambda here: journaled_run(
                    _running(tool, args, kwargs, lambda: here(method(tool, *args, **kwargs))), journal
                )
            )

        return arun

    @functools.wraps(method)
    def run(tool: BaseTool, *args: Any, **kwargs: Any) -> Any:
        journal = _journal_of(tool)
        if journal is None:
            return method(tool, *args, **kwargs)
        return journaled_run(_running(tool, args, kwargs, lambda: _finished(method(tool, *args, **kwargs))), journal)

    return run


def _journal_of(tool: BaseTool) -> Journal | None:
    journal = journal_for(f"the tool {tool.name}")
    return None if journal and journal.tool is tool else journal  # it runs already, and calls its own method


def _running(tool: BaseTool, args: tuple[Any, ...], kwargs: dict[str, Any], run: Callable[[], Any]) -> Running:
    def encode(result: Any) -> dict[str, Any]:
        schema = tool.result_schema
        if schema is not None and isinstance(result, schema):
            return {"model": result.model_dump(mode="json")}
        return {"value": result if _is_plain(result) else tool.format_output_for_agent(result)}

    def decode(reply: dict[str, Any]) -> Any:
        return (
            cast(type[BaseModel], tool.result_schema).model_validate(reply["model"])
            if "model" in reply
            else reply["value"]
        )

    arguments = kwargs | ({"*": list(args)} if args else {})
    return Running(tool, arguments, run, encode, decode, _shortened)


def _is_plain(result: Any) -> bool:
    """Whether JSON keeps it as it is."""
    try:
        return bool(json.loads(json.dumps(result)) == result)
    except (TypeError, ValueError, RecursionError):
        return False


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_FAILURE else text[:_LONGEST_FAILURE] + CUT


def prepare_tool_result(executor: AgentExecutor, outcome: dict[str, Any]) -> str:
    """A tool's result for the prompt: one that is too long is cut. CrewAI would put it into a file of a random name."""
    if not in_a_run() or executor.llm is None or isinstance(executor.llm, JournaledLLM):
        prepared: str = _prepare(executor, outcome)
        return prepared
    whole = getattr(outcome.get("original_tool"), "result_as_answer", False)
    return str(outcome["result"]) if whole else fitting(executor.llm, outcome["result"])


async def ainvoke(tool: CrewStructuredTool, input: Any, config: Any = None, **options: Any) -> Any:
    """As `invoke`, on another thread with this context: CrewAI's own leaves the context behind."""
    if iscoroutinefunction(tool.func):
        return await _ainvoke(tool, input, config, **options)
    return await asyncio.to_thread(tool.invoke, input, config, **options)


def _finished(result: Any) -> Any:
    """The result of a tool's function, which may be asynchronous."""
    if not iscoroutine(result):
        return result
    outcome: list[Any] = []
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: outcome.append(context.run(_outcome, result)))
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def _outcome(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    try:
        return asyncio.run(coroutine), None
    except BaseException as error:
        return None, error
