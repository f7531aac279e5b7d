"""The local gateway, with a crew process behind it: whom they answer, what they pass on, what a connection may hold."""

import asyncio
import email
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import chain
from typing import Any, NamedTuple, cast

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from crewrelay.http.body import LARGEST_BODY
from crewrelay.local import connections
from crewrelay.local.authorization import guard
from crewrelay.local.child import CALLER, GATEWAY, RECEIVED_AT
from crewrelay.local.crew import GatewayContext
from crewrelay.local.gateway import Gateway
from crewrelay.local.process import ChildProcess
from crewrelay.local.resources import Template
from crewrelay.local.stack import Guard, Stack
from tests.support.stack import free_port

SECRET = "this start's"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what came, and with headers that are no ASCII."""
    request = Request(scope, receive)
    if request.headers.get("x-slow"):
        await asyncio.sleep(0.5)
    told = {
        "headers": [(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw],
        "context": scope.get("aws.event", {}).get("requestContext"),
        "body": len(await request.body()),
    }
    response = Response(json.dumps(told), media_type="application/json")
    response.raw_headers += [(b"x-echo", b"\xe9"), (b"x-echo", "é".encode())]
    await response(scope, receive, send)


class OneCrew:
    """A stack, as far as a gateway needs it."""

    def __init__(self, crew: int, guard: Guard) -> None:
        self._crew = crew
        self.secret = SECRET
        self.api, self.guard = asyncio.Future[ASGIApp](), asyncio.Future[Guard]()
        self.api.set_result(echo)
        self.guard.set_result(guard)

    async def crew_url(self) -> str:
        return f"http://127.0.0.1:{self._crew}"


class Answer(NamedTuple):
    """What came until the connection was closed."""

    raw: bytes

    @property
    def status(self) -> int:
        """0 if nothing came."""
        return int(self.raw.split(b" ", 2)[1]) if self.raw else 0

    def header(self, name: str) -> str:
        head, _, _ = self.raw.partition(b"\r\n\r\n")
        found: str = email.message_from_bytes(head.partition(b"\r\n")[2]).get(name, "")
        return found

    @property
    def json(self) -> Any:
        return json.loads(self.raw.partition(b"\r\n\r\n")[2])


class Ports(NamedTuple):
    gateway: int
    crew: int


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """The port on which it is served."""
    server = uvicorn.Server(connections.bounded(app, host="127.0.0.1", port=0, timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


def with_gateway(
    body: Callable[[Ports], Awaitable[None]], host: str | None = "127.0.0.1", guard: Guard = lambda app: app
) -> None:
    async def run() -> None:
        async with AsyncExitStack() as served:
            crew = await served.enter_async_context(serving(GatewayContext(echo, SECRET)))
            gateway = Gateway(cast(Stack, OneCrew(crew, guard)), 29, host)
            served.push_async_callback(gateway._client.aclose)
            await body(Ports(await served.enter_async_context(serving(gateway)), crew))

    asyncio.run(run())


async def ask(port: int, request: bytes) -> Answer:
    return await send(port, [request])


async def send(port: int, pieces: Iterable[bytes], every: float = 0) -> Answer:
    """Send the pieces and wait until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    came = b""
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every)
    with suppress(ConnectionError):
        while piece := await asyncio.wait_for(reader.read(65536), 10):
            came += piece
    await closed(writer)
    return Answer(came)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def request(start: str, *headers: bytes, host: str = "localhost", body: bytes = b"") -> bytes:
    own = (f"Host: {host}".encode(), b"Connection: close", f"Content-Length: {len(body)}".encode())
    return b"\r\n".join((f"{start} HTTP/1.1".encode(), *own, *headers, b"", body))


PATHS = ("POST /crewai/run", "POST /crewai/run/async")


# ---- names


HERE = ("localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "own.name", "OWN.name:1")
ELSEWHERE = (
    "evil.test",
    "evil.test:8000",
    "127.0.0.1.evil.test",
    "localhost.evil.test",
    "10.0.0.1",
    "0.0.0.0",  # noqa: S104
    "[",
    "",
)


@pytest.mark.parametrize("start", [*PATHS, "GET /health", "GET /crewai/crews"])
def test_on_loopback_only_its_names_are_answered(start: str) -> None:
    async def body(ports: Ports) -> None:
        for name in HERE:
            assert (await ask(ports.gateway, request(start, host=name))).status == 200, name
        for name in ELSEWHERE:
            refused = await ask(ports.gateway, request(start, host=name))
            assert refused.status == 421, name
            assert refused.json["type"] == "urn:crewrelay:problem:misdirected"
            assert "AUTH=1" in refused.json["remedy"]

    with_gateway(body, host="Own.Name")


def test_who_serves_others_is_called_by_any_name() -> None:
    async def body(ports: Ports) -> None:
        for name in (*HERE, "evil.test"):
            assert (await ask(ports.gateway, request(PATHS[0], host=name))).status == 200

    with_gateway(body, host=None)


# ---- what is passed on


@pytest.mark.parametrize("start", PATHS)
def test_headers_are_passed_on_as_bytes(start: str) -> None:
    async def body(ports: Ports) -> None:
        sent = [("x-latin", b"caf\xe9"), ("x-utf", "café".encode()), ("prefer", b"wait=5"), ("prefer", b"x")]
        answer = await ask(ports.gateway, request(start, *(name.encode() + b": " + value for name, value in sent)))
        assert answer.status == 200
        came = [(name, value.encode("latin-1")) for name, value in answer.json["headers"]]
        assert [header for header in came if header[0] in dict(sent)] == sent
        assert b"\r\nx-echo: \xe9\r\nx-echo: \xc3\xa9\r\n" in answer.raw

    with_gateway(body)


@pytest.mark.parametrize("start", PATHS)
def test_the_host_is_passed_on_for_links_name_it(start: str) -> None:
    async def body(ports: Ports) -> None:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:80"):
            came = (await ask(ports.gateway, request(start, host=host))).json["headers"]
            assert [value for name, value in came if name == "host"] == [host]

    with_gateway(body)


# ---- what a page of another origin may read


ORIGIN = "https://app.example.org"


def test_the_origins_pages_may_read_refusals_of_the_gateway(deployed: Template) -> None:
    """As on AWS, where each GatewayResponse has the header: without it a page sees a network error."""
    origin = f"Origin: {ORIGIN}".encode()

    def nobody(event: Any, context: Any) -> Any:
        raise Exception("Unauthorized")

    async def refused(ports: Ports) -> None:
        for start in (*PATHS, "GET /crewai/crews"):
            answer = await ask(ports.gateway, request(start, origin, b"Authorization: Bearer x"))
            assert answer.status == 401
            assert answer.header("access-control-allow-origin") == ORIGIN
            assert answer.json["type"] == "urn:crewrelay:problem:unauthenticated"

    async def too_large(ports: Ports) -> None:
        answer = await ask(ports.gateway, request(PATHS[0], origin, body=b"x" * (LARGEST_BODY + 1)))
        assert (answer.status, answer.header("access-control-allow-origin")) == (413, ORIGIN)

    with_gateway(refused, guard=lambda app: guard(app, ORIGIN, nobody, deployed))
    with_gateway(too_large, guard=lambda app: guard(app, ORIGIN, None, deployed))


def test_a_crew_process_answers_its_gateway_alone() -> None:
    async def body(ports: Ports) -> None:
        said = (f'{CALLER}: {{"tenant": "acme"}}'.encode(), f"{RECEIVED_AT}: 1".encode(), b"x-own: 1")
        for own in (), (f"{GATEWAY}: guessed".encode(),), (f"{GATEWAY}: \xe9".encode("latin-1"),):
            assert (await ask(ports.crew, request(PATHS[0], *said, *own))).status == 403
            answer = await ask(ports.gateway, request(PATHS[0], *said, *own))
            assert answer.status == 200
            assert answer.json["context"]["requestTimeEpoch"] > 1
            assert answer.json["context"]["authorizer"] is None
            assert [value for name, value in answer.json["headers"] if name == GATEWAY] == [SECRET]

    with_gateway(body)


def test_a_crew_process_that_is_about_to_end_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    listening, asked = OneCrew.crew_url, list[str]()

    async def crew_url(stack: OneCrew) -> str:
        asked.append(await listening(stack) if asked else f"http://127.0.0.1:{free_port()}")
        return asked[-1]

    async def body(ports: Ports) -> None:
        assert (await ask(ports.gateway, request("POST /crewai/run"))).status == 200

    monkeypatch.setattr(OneCrew, "crew_url", crew_url)
    with_gateway(body)
    assert len(asked) == 2


# ---- what a connection may hold


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_a_body_is_limited_whatever_the_method(method: str) -> None:
    async def body(ports: Ports) -> None:
        for size, status in (LARGEST_BODY, 200), (LARGEST_BODY + 1, 413):
            assert (await ask(ports.gateway, request(f"{method} /crewai/run", body=b"x" * size))).status == status

    with_gateway(body)


@pytest.mark.parametrize("port", [0, 1], ids=Ports._fields)
def test_a_head_that_does_not_end_is_refused_before_it_is_here(port: int) -> None:
    async def body(ports: Ports) -> None:
        endless = iter([b"x" * 4096] * 25_000)
        await send(ports[port], chain([b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "], endless))
        assert len([*endless]) > 20_000

    with_gateway(body)


HALF = b"POST /crewai/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"
WHOLE = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"  # after which the connection is kept


@pytest.mark.parametrize("port", [0, 1], ids=Ports._fields)
@pytest.mark.parametrize(
    "pieces",
    [(), (HALF,), (HALF + b"\r\n12345",), (WHOLE, WHOLE[:20]), (b"G",) * 60],
    ids="none head body next slow".split(),
)
def test_a_request_that_does_not_come_in_time_ends_its_connection(
    port: int, pieces: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SECONDS", 0.3)

    async def body(ports: Ports) -> None:
        await asyncio.wait_for(send(ports[port], pieces, every=0.05), 4)  # a connection is kept for five

    with_gateway(body)


def test_an_answer_may_take_longer_than_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SECONDS", 0.2)

    async def body(ports: Ports) -> None:
        assert (await ask(ports.gateway, request(PATHS[0], b"X-Slow: 1"))).status == 200

    with_gateway(body)


def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)

    async def body(ports: Ports) -> None:
        held = [await asyncio.open_connection("127.0.0.1", ports.gateway) for _ in range(2)]
        assert (await ask(ports.gateway, request("GET /health"))).status == 0
        await closed(held[0][1])
        while (await ask(ports.gateway, request("GET /health"))).status != 200:
            pass
        await closed(held[1][1])

    with_gateway(body)


# ---- whether a process still answers


def test_a_process_is_silent_once_it_leaves_a_request_unanswered() -> None:
    """And not while it takes its time: three answers come late, the fourth doesn't."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked <= 3:
            await asyncio.sleep(0.2)
            writer.close()
        else:
            await reader.read()
            writer.close()

    async def body() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            child = ChildProcess(cast(Any, None), server.sockets[0].getsockname()[1])
            await asyncio.wait_for(child.silent(0.5), 10)

    asyncio.run(body())
    assert asked == 4
