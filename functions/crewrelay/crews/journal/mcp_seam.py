"""Sends what an agent's `mcps` asks of their servers to the journal of its run: see ambient.py.

Listing a server's tools is a journaled call, so a resumed run offers the model the same tools and asks no server. Calls
of these tools are journaled as those of others are, see tool_seam.py. Each listing and each call has a connection or a
process of its own, which ends with it: no two jobs share one.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from crewai.mcp.client import MCPClient
from crewai.mcp.config import MCPServerHTTP, MCPServerStdio
from crewai.mcp.filters import create_static_tool_filter
from crewai.mcp.tool_resolver import MCPToolResolver
from crewai.mcp.transports.base import BaseTransport
from crewai.tools import BaseTool
from crewai.tools.mcp_native_tool import MCPNativeTool
from crewai.utilities.string_utils import sanitize_tool_name

from crewrelay.crews.journal.ambient import Journal, in_a_run, journal_for, workplace
from crewrelay.crews.journal.mcp_servers import ServerUnavailable, address_of, failure_of, name_of, without_secrets
from crewrelay.crews.journal.seam import on_a_thread
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.records.journal import Kind, Reply

_resolve: Any = MCPToolResolver.resolve


def is_of_the_platform(server: Any) -> bool:
    """Whether only CrewAI's platform knows the address of one of an agent's `mcps`."""
    return isinstance(server, str) and not server.startswith("https://")


def resolve(resolver: MCPToolResolver, mcps: list[Any]) -> list[BaseTool]:
    """The tools of all servers. Of an address alone, CrewAI keeps the list for all jobs, goes on without tools if the
    server is down, and tells a model of errors as if they were results: here it is an MCPServerHTTP.
    """
    journal = journal_for("an MCP server")
    if journal is None:
        resolved: list[BaseTool] = _resolve(resolver, mcps)
        return resolved
    tools: list[BaseTool] = []
    for server in mcps:
        config = _by_address(server) if isinstance(server, str) else _in_the_workplace(server)
        found = _found(resolver, config, journal)
        if not found:
            raise _ended(journal, f"The MCP server {name_of(config)} does not offer the tool that is asked of it.")
        tools += found
    # CrewAI adds them to an agent that has no crew, to those of its last kickoff, which may have been another job's.
    agent = resolver._agent
    agent.tools = [tool for tool in agent.tools or [] if not isinstance(tool, MCPNativeTool)]
    return tools


def _found(resolver: MCPToolResolver, config: Any, journal: Journal) -> list[BaseTool]:
    """CrewAI takes an error of the project's own filter for a lost connection, which is no fault of the server's."""
    try:
        found: list[BaseTool] = _resolve(resolver, [config])
    except Exception as error:
        if journal.ended:
            raise
        reason = f"The tools of the MCP server {name_of(config)} can't be made: {error.__cause__ or error!r}"
        raise _ended(journal, reason) from error
    return found


def _ended(journal: Journal, reason: str) -> InvalidCrew:
    error = InvalidCrew(reason)
    journal.end(error)
    return error


def _by_address(reference: str) -> MCPServerHTTP:
    url, _, tool = reference.partition("#")
    chosen = create_static_tool_filter([sanitize_tool_name(tool)]) if tool else None
    return MCPServerHTTP(url=url, tool_filter=chosen)


def _in_the_workplace(server: Any) -> Any:
    """A process starts in the run's folder, which has another name in every run: CrewAI makes names of tools of it."""
    place = workplace()
    if place is None or not isinstance(server, MCPServerStdio):
        return server
    return server.model_copy(update={"args": [arg.removeprefix(f"{place.folder}/") for arg in server.args]})


class RunClient(MCPClient):
    """Connects for one listing or one call, and repeats neither: the job is tried again instead."""

    async def connect(self) -> "RunClient":
        """Not before something is asked: what is replayed needs no server."""
        if not in_a_run():
            await super().connect()
        return self

    async def list_tools(self, use_cache: bool | None = None) -> list[dict[str, Any]]:
        journal = journal_for("an MCP server")
        if not in_a_run():
            return await super().list_tools(use_cache)
        if journal is None:
            listed: list[dict[str, Any]] = await self._once(self._list)
            return listed
        return await on_a_thread(lambda here: _listed(journal, self.transport, lambda: here(self._once(self._list))))

    async def _list(self) -> list[dict[str, Any]]:
        tools = await MCPClient.list_tools(self, use_cache=False)
        if not tools:
            raise ServerUnavailable("it offers no tools")
        return [tool | {"description": tool["description"] or ""} for tool in tools]  # else CrewAI leaves it out

    async def call_tool_result(self, tool_name: str, arguments: dict[str, Any] | None = None) -> Any:
        if not in_a_run():
            return await super().call_tool_result(tool_name, arguments)
        result = await self._once(lambda: self._call(tool_name, arguments))
        return result._replace(content=without_secrets(self.transport, result.content))

    async def _call(self, tool: str, arguments: dict[str, Any] | None) -> Any:
        self.session._tool_output_schemas[tool] = None  # else it lists the tools again, to check what is here already
        return await MCPClient.call_tool_result(self, tool, arguments)

    async def _once(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What the server said counts, however the connection ends."""
        errors: list[BaseException] = []
        said = None
        try:
            async with asyncio.timeout(2 * self.connect_timeout):  # CrewAI does not bound the beginning of SSE
                await MCPClient.connect(self)
            said = await ask()
        except (Exception, BaseExceptionGroup, asyncio.CancelledError) as error:
            errors.append(error)
        try:
            async with asyncio.timeout(self.connect_timeout):
                await self.disconnect()
        except (Exception, BaseExceptionGroup, asyncio.CancelledError) as error:
            errors.append(error)
        if said is None:
            raise failure_of(self.transport, errors) from errors[0]
        return said

    async def _retry_operation(self, operation: Any, timeout: int | None = None) -> Any:
        return await (operation() if in_a_run() else super()._retry_operation(operation, timeout))


def _listed(journal: Journal, server: BaseTransport, ask: Callable[[], Any]) -> Any:
    """The journaled list of its tools, or else what `ask` returns."""
    request: dict[str, Any] = {"tool": "tools/list", "arguments": {"server": address_of(server)}}
    if journal.within:
        request["within"] = journal.within
    try:
        reply = journal.calls.call(Kind.TOOL, request, lambda: Reply(body=without_secrets(server, json.dumps(ask()))))
    except BaseException as error:
        journal.end(error)
        raise
    return json.loads(reply.body)
