"""Implements the Retriever port of crews over a collection and an embedder."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from crewrelay.jobs.errors import CollectionMissing
from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.collection import Collection, Embedding, Vector
from crewrelay.retrieval.embedder import Embedder
from crewrelay.retrieval.embedders.e5 import EMBEDDER

TIMEOUT = timedelta(seconds=10)

Open = Callable[[str, Embedding, timedelta], Collection]


class CollectionRetriever:
    """Searches the first of the named collections that there is. Thread-safe."""

    def __init__(
        self,
        open_: Open,
        names: Sequence[str],
        embedder: Embedder,
        timeout: timedelta = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_
        self._names = names
        self._embedder = embedder
        self._timeout = timeout
        self._clock = clock

    def of(self, name: str) -> "CollectionRetriever":
        """The same for another collection."""
        return CollectionRetriever(self._open, [name], self._embedder, self._timeout, self._clock)

    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        """The `top_k` best passages, best first, with scores from 0 to 1; none for a blank query.

        Returns or raises within `timeout`, or this retriever's if shorter. Raises RetrievalError, and what the embedder
        raises.
        """
        if not query.strip() or top_k < 1:
            return []
        limit = self._timeout if timeout is None else min(timeout, self._timeout)
        end = self._clock() + limit.total_seconds()
        passages = self._search(query, self._embedder.query(query), top_k, end)
        if self._embedder.name == EMBEDDER:
            return passages
        # The scale of another embedder is unknown.
        return [
            passage.model_copy(update={"similarity": None, "also_found": (), "sentences": ()}) for passage in passages
        ]

    def _search(self, query: str, vector: Vector, top_k: int, end: float) -> list[Passage]:
        *alternatives, last = self._names
        for name in alternatives:
            try:
                return self._search_in(name, query, vector, top_k, end)
            except CollectionMissing:
                continue
        return self._search_in(last, query, vector, top_k, end)

    def _search_in(self, name: str, query: str, vector: Vector, top_k: int, end: float) -> list[Passage]:
        collection = self._open(name, Embedding(self._embedder.name, len(vector)), self._left(end))
        return collection.search(query, vector, top_k, self._left(end))

    def _left(self, end: float) -> timedelta:
        return timedelta(seconds=max(0.001, end - self._clock()))
