"""What every store of collections promises, whichever holds them.

Another implementation is one more fixture, named in `IMPLEMENTATIONS`. A real Weaviate is one of them where
WEAVIATE_URL is set (with WEAVIATE_GRPC_URL and WEAVIATE_API_KEY).
"""

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from crewrelay.jobs.errors import CollectionMissing, EmbedderMismatch, RetrievalMisconfigured
from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.collection import Collection, Collections, Document, Embedding, Vector
from crewrelay.retrieval.embedded.collections import EmbeddedCollections
from crewrelay.retrieval.weaviate.collections import WeaviateCollections
from crewrelay.retrieval.weaviate.server import WeaviateServer
from tests.support.weaviate import EMBEDDING, STACK, TIMEOUT, WeaviateDouble, alike, apart, chunks_of, vector

IMPLEMENTATIONS = [
    "embedded",
    "weaviate_on_the_double",
    *(["weaviate_on_a_server"] if "WEAVIATE_URL" in os.environ else []),
]

ROUNDS = 100

NORTH, EAST, SOUTH = vector(1, 0, 0, 0), vector(0, 1, 0, 0), vector(0, 0, 1, 0)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Collections:
    return EmbeddedCollections(tmp_path_factory.mktemp("collections"))


@pytest.fixture(scope="session")
def weaviate_on_the_double(weaviate: WeaviateDouble) -> Iterator[Collections]:
    collections = WeaviateCollections(weaviate.server, STACK)
    yield collections
    collections.close()


@pytest.fixture(scope="session")
def weaviate_on_a_server() -> Iterator[Collections]:
    grpc_url, key = (os.environ.get(f"WEAVIATE_{name}", "") for name in ("GRPC_URL", "API_KEY"))
    collections = WeaviateCollections(WeaviateServer(os.environ["WEAVIATE_URL"], grpc_url, key), STACK)
    yield collections
    collections.close()


@pytest.fixture(params=IMPLEMENTATIONS)
def collections(request: pytest.FixtureRequest) -> Collections:
    store: Collections = request.getfixturevalue(request.param)
    return store


@pytest.fixture
def name(collections: Collections) -> Iterator[str]:
    """Of a collection that nobody else has; it is deleted in the end."""
    name = f"test-{uuid.uuid4()}"
    yield name
    if name in collections.names():
        collections.delete(name)


@pytest.fixture
def collection(collections: Collections, name: str) -> Collection:
    return collections.create(name, EMBEDDING)


def found(collection: Collection, query: str, near: Vector, top_k: int = 5) -> list[str]:
    return [passage.id for passage in collection.search(query, near, top_k, TIMEOUT)]


def test_a_collection_is_there_once_it_is_created(collections: Collections, name: str) -> None:
    assert name not in collections.names()
    collections.create(name, EMBEDDING)
    assert name in collections.names()
    assert collections.names() == sorted(collections.names())
    assert collections.embedding(name) == EMBEDDING


def test_creating_it_again_keeps_what_is_in_it(collections: Collections, collection: Collection, name: str) -> None:
    collection.put(Document("a.txt", "1"), chunks := chunks_of("a", "one"), alike(chunks))
    assert collections.create(name, EMBEDDING).count() == 1
    assert collections.open(name, EMBEDDING).digest("a.txt") == "1"


def test_a_collection_that_is_not_there(collections: Collections, name: str) -> None:
    for ask in (collections.embedding, collections.delete, lambda name: collections.open(name, EMBEDDING)):
        with pytest.raises(CollectionMissing, match=name):
            ask(name)


@pytest.mark.parametrize("other", [Embedding("tests/other", 4), Embedding("tests/four", 5)])
def test_vectors_of_another_embedder(collections: Collections, collection: Collection, name: str, other: Any) -> None:
    for open_or_create in (collections.open, collections.create):
        with pytest.raises(EmbedderMismatch, match="tests/four") as mismatch:
            open_or_create(name, other)
        assert other.embedder in str(mismatch.value)


def test_deleted_it_is_gone_with_all_that_was_in_it(
    collections: Collections, collection: Collection, name: str
) -> None:
    collection.put(Document("a.txt", "1"), chunks := chunks_of("a", "one"), alike(chunks))
    collections.delete(name)
    assert name not in collections.names()
    again = collections.create(name, EMBEDDING)
    assert (again.count(), again.digest("a.txt"), list(again.documents())) == (0, None, [])


@pytest.mark.parametrize("bad", ["", "A", "Docs", "1docs", "-docs", "my docs", "a/b", "../a", "döcs", "a" * 64, "a\n"])
def test_a_bad_name_is_refused_with_the_rule(collections: Collections, bad: str) -> None:
    for ask in (collections.embedding, collections.delete, lambda name: collections.create(name, EMBEDDING)):
        with pytest.raises(RetrievalMisconfigured, match="a lower-case letter, then"):
            ask(bad)


def test_names_that_are_almost_the_same(collections: Collections, name: str) -> None:
    names = [f"{name[:20]}{end}" for end in ("-a_b", "_a-b", "_a_b", "-a-b", "__hab", "_ha-b")]
    for number, each in enumerate(names):
        collections.create(each, Embedding(each, number + 1))
    try:
        assert [each for each in collections.names() if each.startswith(name[:20])] == sorted(names)
        assert [collections.embedding(each).embedder for each in names] == names
    finally:
        for each in names:
            collections.delete(each)


def test_a_document_is_put_replaced_and_shrunk(collection: Collection) -> None:
    assert (collection.count(), collection.digest("a.txt"), list(collection.documents())) == (0, None, [])
    three = chunks_of("a", "one fish", "two fish", "three fish")
    collection.put(Document("a.txt", "1"), three, alike(three))
    other = chunks_of("b", "red fish")
    collection.put(Document("b.txt", "2"), other, alike(other))
    assert (collection.count(), collection.digest("a.txt"), collection.digest("b.txt")) == (4, "1", "2")
    one = chunks_of("a", "one bird")
    for _ in range(2):
        collection.put(Document("a.txt", "3"), one, alike(one))
        assert (collection.count(), collection.digest("a.txt"), collection.digest("b.txt")) == (2, "3", "2")
    assert set(found(collection, "fish", NORTH)) == {"a#1", "b#1"}
    assert sorted(collection.documents()) == [Document("a.txt", "3"), Document("b.txt", "2")]
    # The digest says nothing of how it was cut.
    collection.put(Document("a.txt", "3"), cut := chunks_of("a", "one", "bird"), alike(cut))
    collection.put(Document("a.txt", "3"), one, alike(one))
    assert collection.count() == 2
    collection.put(Document("a.txt", "4"), [], [])
    assert (collection.count(), collection.digest("a.txt")) == (1, "4")


def test_a_document_is_removed(collection: Collection) -> None:
    for page in ("a", "b"):
        collection.put(Document(f"{page}.txt", page), chunks := chunks_of(page, "one", "two"), alike(chunks))
    for _ in range(2):
        collection.remove("a.txt")
        assert (collection.count(), collection.digest("a.txt")) == (2, None)
        assert list(collection.documents()) == [Document("b.txt", "b")]


class Interrupted(Exception):
    pass


class Breaking(list[Vector]):
    """Can't be read to its end."""

    def __getitem__(self, index: Any) -> Any:
        if (index.stop if isinstance(index, slice) else index) >= len(self) - 1:
            raise Interrupted
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[Vector]:
        yield from super().__getitem__(slice(len(self) - 1))
        raise Interrupted


@pytest.mark.parametrize("before", [None, Document("a.txt", "old")])
def test_an_interrupted_put_is_not_taken_for_done(collection: Collection, before: Document | None) -> None:
    if before:
        collection.put(before, old := chunks_of("a", *["old"] * 250), apart(old))
    new = chunks_of("a", *[f"new {number}." for number in range(200)])
    with pytest.raises(Interrupted):
        collection.put(Document("a.txt", "new"), new, Breaking(apart(new)))
    assert collection.digest("a.txt") in (None, before and before.digest)
    collection.put(Document("a.txt", "new"), new, apart(new))
    assert (collection.count(), collection.digest("a.txt")) == (200, "new")
    assert set(found(collection, "old", NORTH, 200)) == {chunk.id for chunk in new}


def test_the_keyword_decides_between_equal_vectors(collection: Collection) -> None:
    chunks = chunks_of(
        "a", "A checkpoint moves pages.", "Error SQLITE_BUSY_SNAPSHOT means to retry.", "Pages are cached."
    )
    collection.put(Document("a.txt", "1"), chunks, alike(chunks))
    best = collection.search("what does sqlite_busy_snapshot mean?", NORTH, 3, TIMEOUT)
    assert best[0].id == "a#2"
    assert 1 >= best[0].score > best[1].score >= best[2].score > 0


def test_the_vector_decides_across_languages(collection: Collection) -> None:
    chunks = chunks_of("a", "The lease is renewed while the job runs.", "Queues decouple.", "Die was wie der warum.")
    collection.put(Document("a.txt", "1"), chunks, [vector(1, 0.2, 0, 0), EAST, vector(0, 0.3, 1, 0)])
    best = collection.search("Warum verfällt der Auftrag nicht, was erneuert die Pacht?", NORTH, 3, TIMEOUT)
    assert best[0].id == "a#1"
    assert {passage.id for passage in best[1:]} == {"a#2", "a#3"}
    assert best == sorted(best, key=lambda passage: -passage.score)


def test_a_word_that_is_inflected_or_part_of_a_compound_is_found(collection: Collection) -> None:
    chunks = chunks_of("a", "Der Hund bellt laut.", "Die Wahlen im Bundestag.", "Regen fällt auf Ulm.")
    collection.put(Document("a.txt", "1"), chunks, alike(chunks))
    for query in ("Bundestagswahl", "Bundestages"):
        assert found(collection, query, NORTH, 1) == ["a#2"]


def test_title_and_heading_are_searched_and_the_text_is_given_back_as_it_is(collection: Collection) -> None:
    chunks = [
        *chunks_of("a", "It has no words of the question.", title="Atomic commit"),
        *chunks_of("b", "Nor has this.", heading="Rollback journal"),
        *chunks_of("c", "Nor this."),
    ]
    collection.put(Document("all.txt", "1"), chunks, alike(chunks))
    passages = [collection.search(query, NORTH, 1, TIMEOUT)[0] for query in ("ATOMIC?", "rollback")]
    assert [(one.title, one.url, one.excerpt) for one in passages] == [
        ("Atomic commit", "https://example.org/a", "It has no words of the question."),
        ("A title", "https://example.org/b", "Nor has this."),
    ]


def test_no_more_than_was_asked_for_and_none_of_none(collection: Collection) -> None:
    assert found(collection, "anything", NORTH) == []
    collection.put(
        Document("a.txt", "1"), chunks := chunks_of("a", *(f"same {number}." for number in range(30))), alike(chunks)
    )
    assert [len(found(collection, "same", NORTH, top_k)) for top_k in (0, 1, 7, 30, 50)] == [0, 1, 7, 30, 30]


def test_a_passage_is_what_stands_around_the_chunk_and_says_how_near_it_is(collection: Collection) -> None:
    [chunk] = chunks_of("a", "The lease is renewed.")
    collection.put(Document("a.txt", "1"), [chunk], [vector(3, 4, 0, 0)])
    [passage] = collection.search("lease", NORTH, 5, TIMEOUT)
    assert (passage.text, passage.excerpt) == ("Before it. The lease is renewed. After it.", "The lease is renewed.")
    assert passage.similarity == pytest.approx(0.6, abs=1e-6)


def test_neighbours_that_show_the_same_are_found_once_and_passages_say_what_else_was_found_in_them(
    collection: Collection,
) -> None:
    texts = [f"sentence {number}." for number in range(12)]
    chunks = [
        replace(chunk, passage=" ".join(texts[max(0, number - 2) : number + 3]))
        for number, chunk in enumerate(chunks_of("a", *texts))
    ]
    collection.put(Document("a.txt", "1"), chunks, [vector(20 - number, number, 0, 0) for number in range(12)])
    other = chunks_of("b", "sentence 1.")
    collection.put(Document("b.txt", "1"), other, [SOUTH])
    passages = collection.search("none", NORTH, 5, TIMEOUT)
    assert [passage.id for passage in passages] == ["a#1", "a#4", "a#7", "a#10", "b#1"]
    also = [[part.text for part in passage.also_found] for passage in passages]
    assert also == [[f"sentence {number}." for number in pair] for pair in ((1, 2), (4, 5), (7, 8), (10, 11), ())]
    assert passages[0].also_found[0].similarity == pytest.approx(19 / 362**0.5, abs=1e-6)


ODD = [
    "Grüße, 世界 🌍 👩‍👩‍👧‍👦",
    "שלום, اللغة ﷺ and e\u0301 \u202eback\u202c \ufeff\u200b",
    """ "quoted", 'quoted', `quoted`, \\backslash\\n, {"a": [1]}, %s, ${x}, <b>&amp;</b> """,
    "line\nline\r\n\ttabbed\u2028line\x00nul\x1b[0m",
    "word " * 20_000,
]


@pytest.mark.parametrize("text", ODD, ids=["emoji", "bidi", "quotes", "control", "100-KB"])
def test_odd_texts_come_back_as_far_as_they_can_be_shown(collection: Collection, text: str) -> None:
    source = f"dir/ä {text[:200]}"
    chunk = chunks_of("a ä\"'#/%", text, title=text[:200], heading=text[:200])[0]
    collection.put(Document(source, "1"), [chunk], [NORTH])
    [passage] = collection.search(text[:1000] + "\ud83d", EAST, 5, TIMEOUT)
    stored = Passage(id=chunk.id, title=chunk.title, url=chunk.url, text=chunk.passage, excerpt=chunk.text)
    assert passage.model_copy(update={"score": 0.0, "similarity": None}) == stored
    assert (collection.digest(source), list(collection.documents())) == ("1", [Document(source, "1")])
    collection.remove(source)
    assert collection.count() == 0


def test_sources_that_are_almost_the_same(collection: Collection) -> None:
    sources = ["a.txt", "A.txt", " a.txt", "a.txt ", "a txt", "a", "a.txt/a.txt"]
    for number, source in enumerate(sources):
        collection.put(Document(source, source.upper()), chunks := chunks_of(f"{number}", "x", "y"), alike(chunks))
    collection.remove("a.txt")
    assert sorted(collection.documents()) == sorted(Document(source, source.upper()) for source in sources[1:])
    assert collection.count() == 2 * (len(sources) - 1)


def test_many_documents_are_listed_one_by_one(collection: Collection) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: collection.put(Document(f"{number}.txt", "1"), [], []), range(250)))
    assert len({document.source for document in collection.documents()}) == 250


def test_two_writers_of_one_document_lose_none_of_its_chunks(collection: Collection) -> None:
    """As two ingestions of a changed folder do. What is left is one version whole, or is not taken for done."""
    versions = {digest: chunks_of("a", *(f"{digest} {number}." for number in range(5))) for digest in ("one", "two")}
    texts = {digest: {chunk.text for chunk in chunks} for digest, chunks in versions.items()}
    lost = 0
    with ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            barrier = Barrier(2)

            def put(digest: str, together: Barrier = barrier) -> None:
                together.wait()
                collection.put(Document("a.txt", digest), versions[digest], alike(versions[digest]))

            list(threads.map(put, versions))
            there = {passage.excerpt for passage in collection.search("one two", NORTH, 20, TIMEOUT)}
            done = collection.digest("a.txt")
            lost += not any(whole <= there for whole in texts.values())
            lost += done is not None and there != texts[done]
    assert lost == 0
    collection.put(Document("a.txt", "one"), versions["one"], alike(versions["one"]))
    assert (collection.count(), collection.digest("a.txt")) == (5, "one")


def test_sixteen_threads_at_once(collection: Collection) -> None:
    def work(number: int) -> list[str]:
        page, near = f"page-{number}", vector(1, number, number * number, 1)
        chunks = chunks_of(page, f"about subject{number}", "about something else")
        for digest in ("1", "2"):
            collection.put(Document(page, digest), chunks, [near, SOUTH])
        return [found(collection, f"subject{number}", near, 1)[0] for _ in range(5)]

    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(work, range(16)))
    assert results == [[f"page-{number}#1"] * 5 for number in range(16)]
    assert (collection.count(), len(list(collection.documents()))) == (32, 16)
