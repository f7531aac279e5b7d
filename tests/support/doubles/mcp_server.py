"""An MCP server with a tool for the weather and one for searches, that writes down what it is asked.

In this process over HTTP; or, as `python -m tests.support.doubles.mcp_server`, in one of its own, over its standard
input and output. There it appends what it is asked to the file that the variable ASKED names, and says so on its
standard error.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import mcp.types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from crewrelay.local.serve import listen
from tests.support.waiting import wait_until

LISTED = "tools/list"
TEXT = {"type": "string"}
TOOLS = [
    types.Tool(
        name="search",
        description="Searches.",
        inputSchema={"type": "object", "properties": {"query": TEXT}, "required": ["query"]},
    ),
    types.Tool(
        name="weather",
        description="Tells the weather of a city.",
        inputSchema={
            "type": "object",
            "properties": {"city": {**TEXT, "description": "Where"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    ),
]


def _server(write_down: Callable[[str], object], tools: list[types.Tool]) -> Server:
    server = Server("weather")

    async def list_tools(_: types.ListToolsRequest) -> types.ServerResult:
        write_down(LISTED)
        return types.ServerResult(types.ListToolsResult(tools=tools))

    async def call_tool(request: types.CallToolRequest) -> types.ServerResult:
        given = request.params.arguments or {}
        write_down(f"{request.params.name} {given}")
        said = f"rain for {sorted(given.values(), key=str)}"
        failed = "nowhere" in said
        if "secret" in said:
            said = f"{os.environ.get('TOLD_TOKEN')}"
        content: list[types.ContentBlock] = [types.TextContent(type="text", text=said)]
        return types.ServerResult(types.CallToolResult(content=content, isError=failed))

    server.request_handlers = {
        **server.request_handlers,
        types.ListToolsRequest: list_tools,
        types.CallToolRequest: call_tool,
    }
    return server


class McpServer:
    """`failing` is the HTTP status of every answer, if there is one; such an answer repeats the caller's key."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: set[str] = set()
        self.tools = list(TOOLS)
        self.failing: int | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def app(self) -> Starlette:
        server = _server(self.asked.append, self.tools)
        manager = StreamableHTTPSessionManager(server, stateless=True, json_response=True)
        sse = SseServerTransport("/messages/")

        async def streamed(request: Request) -> Response:
            async with sse.connect_sse(request.scope, request.receive, request._send) as (reading, writing):
                await server.run(reading, writing, server.create_initialization_options())
            return Response()

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with manager.run():
                yield

        return Starlette(
            routes=[
                Route("/mcp", _Endpoint(manager.handle_request)),
                Route("/sse", streamed),
                Mount("/messages/", app=sse.handle_post_message),
            ],
            lifespan=lifespan,
        )

    def guarded(self, app: ASGIApp) -> ASGIApp:
        async def guard(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                key = Request(scope).headers.get("authorization", "")
                self.keys.add(key)
                if self.failing:
                    await PlainTextResponse(f"not for {key}", self.failing)(scope, receive, send)
                    return
            await app(scope, receive, send)

        return guard


class _Endpoint:
    """An application, where Starlette would take a function for one that returns a response."""

    def __init__(self, handle: Callable[[Scope, Receive, Send], object]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handle(scope, receive, send)  # type: ignore[misc]


@contextmanager
def mcp_server(port: int = 0) -> Iterator[McpServer]:
    double = McpServer()
    listener = listen("127.0.0.1", port)
    double.port = listener.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(double.guarded(double.app()), log_level="critical", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, within=10)
        yield double
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


async def _over_stdio() -> None:
    def write_down(asked: str) -> None:
        print(f"asked {asked}", file=sys.stderr, flush=True)
        with open(os.environ["ASKED"], "a") as file:
            file.write(f"{os.getpid()} {asked}\n")

    server = _server(write_down, list(TOOLS))
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(_over_stdio())
