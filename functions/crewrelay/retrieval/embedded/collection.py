"""A collection in SQLite. Search loads it into memory, and again after each change, also by other processes."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crewrelay.jobs.errors import CollectionMissing
from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Document, Embedding, Vector, require_embedding
from crewrelay.retrieval.embedded.database import Database
from crewrelay.retrieval.embedded.pipeline import PassageSearch

_FLOAT = np.dtype("<f4")


class State(NamedTuple):
    """A collection's id, its version (which counts changes) and its embedding."""

    id: int
    version: int
    embedding: Embedding

    def covers(self, other: "State") -> bool:
        return self.id == other.id and self.version >= other.version


class EmbeddedCollection:
    def __init__(self, database: Database, name: str, embedding: Embedding, timeout: timedelta) -> None:
        self._database = database
        self._name = name
        self._embedding = embedding
        self._timeout = timeout
        self._lock = threading.Lock()
        self._loaded: tuple[State, PassageSearch] | None = None

    def search(self, query: str, vector: Vector, top_k: int, timeout: timedelta) -> list[Passage]:
        return self._current(timeout).search(query, vector, top_k) if top_k > 0 else []

    def digest(self, source: str) -> str | None:
        with self._database.reading(self._timeout) as connection:
            id = state(connection, self._name, self._embedding).id
            found = connection.execute(
                "SELECT digest FROM documents WHERE collection = ? AND source = ?", (id, source)
            ).fetchone()
        return found[0] if found else None

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        rows = [
            (number, *astuple(one), vector.astype(_FLOAT).tobytes())
            for number, (one, vector) in enumerate(zip(chunks, vectors, strict=True))
        ]
        with self._changing() as (connection, id):
            connection.execute("DELETE FROM documents WHERE collection = ? AND source = ?", (id, document.source))
            inserted = connection.execute(
                "INSERT INTO documents (collection, source, digest) VALUES (?, ?, ?)", (id, *document)
            )
            connection.executemany(
                "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [(inserted.lastrowid, *row) for row in rows]
            )

    def remove(self, source: str) -> None:
        with self._changing() as (connection, id):
            connection.execute("DELETE FROM documents WHERE collection = ? AND source = ?", (id, source))

    def documents(self) -> Iterator[Document]:
        with self._database.reading(self._timeout) as connection:
            id = state(connection, self._name, self._embedding).id
            rows = connection.execute(
                "SELECT source, digest FROM documents WHERE collection = ? ORDER BY source", (id,)
            ).fetchall()  # fetch all: the caller may change the collection while iterating
        return (Document(*row) for row in rows)

    def count(self) -> int:
        with self._database.reading(self._timeout) as connection:
            id = state(connection, self._name, self._embedding).id
            found = connection.execute(
                "SELECT count(*) FROM chunks JOIN documents ON document = documents.id WHERE collection = ?", (id,)
            ).fetchone()
        return int(found[0])

    def _current(self, timeout: timedelta) -> PassageSearch:
        with self._database.reading(timeout) as connection:
            now = state(connection, self._name, self._embedding)
        loaded = self._loaded
        if loaded is None or not loaded[0].covers(now):
            with self._lock:
                loaded = self._loaded
                if loaded is None or not loaded[0].covers(now):
                    with self._database.reading(timeout) as connection:
                        now = state(connection, self._name, self._embedding)
                        chunks, vectors = _read(connection, now)
                    loaded = self._loaded = now, PassageSearch(chunks, vectors)
        return loaded[1]

    @contextmanager
    def _changing(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        with self._database.writing(self._timeout) as connection:
            id = state(connection, self._name, self._embedding).id
            yield connection, id
            connection.execute("UPDATE collections SET version = version + 1 WHERE id = ?", (id,))


def state(connection: sqlite3.Connection, name: str, expected: Embedding | None = None) -> State:
    """The collection's current state. Raises CollectionMissing and EmbedderMismatch."""
    row = connection.execute(
        "SELECT id, version, embedder, dimension FROM collections WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        raise CollectionMissing(f"There is no collection {name!r}.")
    found = State(row[0], row[1], Embedding(row[2], row[3]))
    require_embedding(name, found.embedding, expected or found.embedding)
    return found


def _read(connection: sqlite3.Connection, now: State) -> tuple[list[Chunk], npt.NDArray[np.float32]]:
    rows = connection.execute(
        "SELECT chunks.id, title, url, heading, text, passage, vector FROM chunks"
        " JOIN documents ON document = documents.id"
        " WHERE collection = ? ORDER BY source, number",
        (now.id,),
    ).fetchall()
    vectors = np.frombuffer(b"".join(row[6] for row in rows), dtype=_FLOAT).astype(np.float32, copy=False)
    return [Chunk(*row[:6]) for row in rows], vectors.reshape(len(rows), now.embedding.dimension)
