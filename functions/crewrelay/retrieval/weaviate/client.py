"""One Weaviate connection shared by all threads, with timeouts, hedged requests and reconnection."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from weaviate import WeaviateAsyncClient
from weaviate.auth import AuthApiKey
from weaviate.config import AdditionalConfig, GrpcConfig, Timeout
from weaviate.connect import ConnectionParams

from crewrelay.jobs.errors import RetrievalError, RetrievalMisconfigured, RetrievalUnavailable
from crewrelay.retrieval.weaviate.errors import may_be_starting, translate_error
from crewrelay.retrieval.weaviate.event_loop import run

T = TypeVar("T")
Work = Callable[[WeaviateAsyncClient], Coroutine[Any, Any, T]]

# After this time a request is sent again on a new connection (hedging), in case the peer has silently gone away.
READ_HEDGE, WRITE_HEDGE = timedelta(seconds=1), timedelta(seconds=10)
CONNECT = timedelta(seconds=5)
# The client's own timeout in seconds, longer than ours, so that ours ends a call including the client's retries.
TIMEOUT = 600


@dataclass(frozen=True)
class WeaviateServer:
    """Address and key of a Weaviate server. With an https URL, gRPC uses TLS too."""

    url: str
    grpc_port: int = 50051
    grpc_host: str = ""  # default: the URL's host
    api_key: str = field(default="", repr=False)
    timeout: timedelta = timedelta(seconds=30)  # of all calls but searches


class Connection:
    """Connects at the first call. Thread-safe."""

    def __init__(self, server: WeaviateServer) -> None:
        self._server = server
        self._params = _params(server)
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    def read(self, work: Work[T], timeout: timedelta | None = None) -> T:
        """Returns, or raises a RetrievalError, within `timeout`. The work may run twice, also concurrently."""
        return run(self._within(timeout or self._server.timeout, work, READ_HEDGE))

    def write(self, work: Work[T]) -> T:
        """Like `read`, with a later hedge, because a batch takes longer. The work must be idempotent."""
        return run(self._within(self._server.timeout, work, WRITE_HEDGE))

    def close(self) -> None:
        """Close the connection; the next call reconnects."""
        run(self._close())

    async def _within(self, timeout: timedelta, work: Work[T], hedge: timedelta) -> T:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._answer_when_ready(work, min(hedge, timeout / 2))
        except RetrievalError:
            raise
        except TimeoutError:
            raise RetrievalUnavailable(self._no_answer()) from None
        except Exception as error:
            raise translate_error(error) from error

    async def _answer_when_ready(self, work: Work[T], hedge: timedelta) -> T:
        """A server that starts answers gRPC seconds before its schema is loaded, as if its classes were missing."""
        try:
            return await self._answer(work, hedge)
        except Exception as error:
            if not may_be_starting(error):
                raise
            if not await (await self._connected()).use(WeaviateAsyncClient.is_ready):
                raise RetrievalUnavailable(f"Weaviate at {self._server.url} is starting") from error
        return await self._answer(work, hedge)  # it may have become ready meanwhile

    async def _answer(self, work: Work[T], hedge: timedelta) -> T:
        link = await self._connected()
        attempts = [asyncio.create_task(link.use(work))]
        try:
            await asyncio.wait(attempts, timeout=hedge.total_seconds())
            if not attempts[0].done() or _lost(attempts[0]):
                attempts.append(asyncio.create_task(self._again(work, link)))
            return await _first_answer(set(attempts))
        finally:
            for attempt in attempts:
                attempt.cancel()

    def _no_answer(self) -> str:
        said = f"Weaviate at {self._server.url} did not answer in time"
        if self._link is None:
            return said
        grpc = f"{self._params.grpc.host}:{self._params.grpc.port}"
        return (
            f"{said}, although it accepted a connection over HTTP: check that its gRPC port {grpc} can be reached too"
        )

    async def _again(self, work: Work[T], lost: "_Link") -> T:
        link = await self._connected(instead_of=lost)
        return await link.use(work)

    async def _connected(self, instead_of: "_Link | None" = None) -> "_Link":
        async with self._connecting:
            if self._link is None or self._link is instead_of:
                await self._close()
                self._link = _Link(await self._connect())
            return self._link

    async def _connect(self) -> WeaviateAsyncClient:
        client = WeaviateAsyncClient(
            connection_params=self._params,
            auth_client_secret=AuthApiKey(self._server.api_key) if self._server.api_key else None,
            additional_config=AdditionalConfig(
                timeout=Timeout(query=TIMEOUT, insert=TIMEOUT),
                # Else a new channel would reuse the lost connection of an old channel that is still open.
                grpc_config=GrpcConfig(channel_options=[("grpc.use_local_subchannel_pool", 1)]),
            ),
            # Saves a request to Weaviate and one to a package index.
            skip_init_checks=True,
        )
        try:
            async with asyncio.timeout(CONNECT.total_seconds()):
                await client.connect()
        except BaseException:
            await client.close()
            raise
        return client

    async def _close(self) -> None:
        link, self._link = self._link, None
        if link:
            await link.retire()


class _Link:
    """A connected client with a user count. Closed when unused, because closing cancels running calls."""

    def __init__(self, client: WeaviateAsyncClient) -> None:
        self._client = client
        self._users = 0
        self._retired = False

    async def use(self, work: Work[T]) -> T:
        self._users += 1
        try:
            return await work(self._client)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            # Not this task: the client has cancelled the call, because its connection was closed just before.
            raise RetrievalUnavailable("Weaviate's connection was closed") from None
        finally:
            self._users -= 1
            await self._close_if_done()

    async def retire(self) -> None:
        self._retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._retired and not self._users:
            await self._client.close()


async def _first_answer(attempts: set["asyncio.Task[T]"]) -> T:
    """The first attempt's result, except if its connection was lost and another attempt is still running."""
    while True:
        done, attempts = await asyncio.wait(attempts, return_when=asyncio.FIRST_COMPLETED)
        best = min(done, key=_lost)
        if not attempts or not _lost(best):
            return best.result()


def _lost(attempt: "asyncio.Task[Any]") -> bool:
    error = attempt.exception()
    return error is not None and isinstance(translate_error(error), RetrievalUnavailable)


def _params(server: WeaviateServer) -> ConnectionParams:
    try:
        url = urlsplit(server.url)
        secure = {"http": False, "https": True}[url.scheme]
        return ConnectionParams.from_params(
            http_host=url.hostname or "",
            http_port=url.port or (443 if secure else 80),
            http_secure=secure,
            grpc_host=server.grpc_host or url.hostname or "",
            grpc_port=server.grpc_port,
            grpc_secure=secure,
        )
    except (KeyError, ValueError) as error:
        raise RetrievalMisconfigured(
            f"Weaviate's URL must be http(s)://HOST[:PORT], with gRPC on another port: {server} ({error})"
        ) from error
