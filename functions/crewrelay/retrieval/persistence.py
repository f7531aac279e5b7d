"""Asks again what did not answer, for ingestion, which no queue retries."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

from crewrelay.jobs.errors import RetrievalUnavailable
from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Collection, Document, Vector
from crewrelay.retrieval.embedder import Embedder, Vectors

T = TypeVar("T")
Pause = Callable[[float], None]  # for so many seconds

ATTEMPTS = 6  # with pauses of half a minute together: a Weaviate that restarts is back within it


def persist(ask: Callable[[], T], pause: Pause) -> T:
    """With exponential backoff. Raises RetrievalUnavailable after the last attempt."""
    for attempt in range(1, ATTEMPTS):
        try:
            return ask()
        except RetrievalUnavailable:
            pause(2.0**attempt / 2)
    return ask()


class PersistentEmbedder:
    def __init__(self, embedder: Embedder, pause: Pause) -> None:
        self._embedder = embedder
        self._pause = pause

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def dimension(self) -> int:
        return persist(lambda: self._embedder.dimension, self._pause)

    def query(self, text: str) -> Vectors:
        return persist(lambda: self._embedder.query(text), self._pause)

    def passages(self, texts: Sequence[str]) -> Vectors:
        return persist(lambda: self._embedder.passages(texts), self._pause)


class PersistentCollection:
    def __init__(self, collection: Collection, pause: Pause) -> None:
        self._collection = collection
        self._pause = pause

    def search(self, query: str, vector: Vector, top_k: int, timeout: timedelta) -> list[Passage]:
        return self._collection.search(query, vector, top_k, timeout)  # who searches has no time

    def digest(self, source: str) -> str | None:
        return persist(lambda: self._collection.digest(source), self._pause)

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        persist(lambda: self._collection.put(document, chunks, vectors), self._pause)

    def remove(self, source: str) -> None:
        persist(lambda: self._collection.remove(source), self._pause)

    def documents(self) -> Iterator[Document]:
        return iter(persist(lambda: list(self._collection.documents()), self._pause))

    def count(self) -> int:
        return persist(self._collection.count, self._pause)
