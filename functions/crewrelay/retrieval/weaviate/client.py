"""One Weaviate connection shared by all threads, with timeouts and reconnection."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar, cast

from weaviate import WeaviateAsyncClient
from weaviate.auth import AuthApiKey
from weaviate.config import AdditionalConfig, GrpcConfig, Timeout

from crewrelay.jobs.errors import RetrievalError, RetrievalUnavailable
from crewrelay.retrieval.weaviate.errors import may_be_starting, translate_error
from crewrelay.retrieval.weaviate.event_loop import run
from crewrelay.retrieval.weaviate.server import WeaviateServer

T = TypeVar("T")
Work = Callable[[WeaviateAsyncClient], Coroutine[Any, Any, T]]

# After DOUBT a request is sent again, in case the peer has silently gone away: over a new connection, if the old one
# leaves a health check unanswered for CHECK.
DOUBT, CHECK = timedelta(seconds=1), timedelta(seconds=0.5)
CONNECT = timedelta(seconds=5)
# The client's own timeout in seconds, longer than ours, so that ours ends a call including the client's retries.
TIMEOUT = 600


class Connection:
    """Connects at the first call. Thread-safe."""

    def __init__(self, server: WeaviateServer) -> None:
        self._server = server
        self._params = server.addresses()
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._trouble = ""  # what the last check of a connection found

    def grpc(self, work: Work[T], timeout: timedelta | None = None) -> T:
        """Returns, or raises a RetrievalError, within `timeout`. The work asks over gRPC. It may run twice, also
        concurrently: it must be idempotent."""
        return run(self._within(timeout or self._server.timeout, work, checked=True))

    def http(self, work: Work[T], timeout: timedelta | None = None) -> T:
        """The same for work that asks over HTTP. Its connection can't be checked: in doubt it runs again."""
        return run(self._within(timeout or self._server.timeout, work, checked=False))

    def close(self) -> None:
        """Close the connection; the next call reconnects."""
        run(self._close())

    async def _within(self, timeout: timedelta, work: Work[T], checked: bool) -> T:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._answer_when_ready(work, min(DOUBT, timeout / 3), checked)
        except RetrievalError:
            raise
        except TimeoutError:
            raise RetrievalUnavailable(self._no_answer()) from None
        except Exception as error:
            raise translate_error(error) from error

    async def _answer_when_ready(self, work: Work[T], doubt: timedelta, checked: bool) -> T:
        """A server that starts answers gRPC seconds before its schema is loaded, as if its classes were missing."""
        try:
            return await self._answer(work, doubt, checked)
        except Exception as error:
            if not may_be_starting(error):
                raise
            if not await (await self._connected()).use(WeaviateAsyncClient.is_ready):
                raise RetrievalUnavailable(f"Weaviate at {self._server.url} is starting") from error
        return await self._answer(work, doubt, checked)  # it may have become ready meanwhile

    async def _answer(self, work: Work[T], doubt: timedelta, checked: bool) -> T:
        link = await self._connected()
        attempts = [asyncio.create_task(link.use(work))]
        try:
            await asyncio.wait(attempts, timeout=doubt.total_seconds())
            if attempts[0].done() and not _lost(attempts[0]):
                return attempts[0].result()
            attempts.append(asyncio.create_task(self._again(work, link, checked)))
            return await _first_answer(set(attempts))
        finally:
            for attempt in attempts:
                attempt.cancel()

    def _no_answer(self) -> str:
        said = f"Weaviate at {self._server.url} did not answer in time"
        if self._link is None:
            return said
        grpc = f"{self._params.grpc.host}:{self._params.grpc.port}"
        reason = f" ({self._trouble})" if self._trouble else ""
        return (
            f"{said}, although it accepted a connection over HTTP: check that gRPC at {grpc} can be reached too{reason}"
        )

    async def _again(self, work: Work[T], doubted: "_Link", checked: bool) -> T:
        if checked and doubted is self._link:
            self._trouble = await doubted.trouble()
            if not self._trouble:
                async with doubted.again:
                    return await doubted.use(work)
        link = await self._connected(instead_of=doubted)
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
                grpc_config=GrpcConfig(
                    # Else a new channel would reuse the lost connection of an old channel that is still open.
                    channel_options=[("grpc.use_local_subchannel_pool", 1)],
                    credentials=self._server.authorities(),
                ),
                trust_env=self._server.certificates is not None,  # the HTTP client reads SSL_CERT_FILE
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
        self._check: asyncio.Task[str] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.again = asyncio.Lock()  # one call at a time is repeated: a slow server is not asked everything twice

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

    async def trouble(self) -> str:
        """Why the server does not answer over this connection; "" if it does. Looks once for all who ask meanwhile."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._trouble())
        return await asyncio.shield(self._check)

    async def _trouble(self) -> str:
        try:
            async with asyncio.timeout(CHECK.total_seconds()):
                await self.use(_check_health)
            return ""
        except TimeoutError:
            return "it is silent"
        except Exception as error:
            return str(translate_error(error))

    async def retire(self) -> None:
        self._retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        """A call that is no longer wanted is cancelled, also in here: the client is closed all the same."""
        if self._retired and not self._users:
            self._closing = self._closing or asyncio.create_task(self._client.close())
            await asyncio.shield(self._closing)


async def _check_health(client: WeaviateAsyncClient) -> None:
    # The client offers no way to ask over gRPC for nothing; this is what it asks when it connects.
    await cast(Any, client)._connection._ping_grpc("async")


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
