"""Implements the Retriever port of crews over a collection and an embedder."""

from collections.abc import Callable
from datetime import timedelta

from crewrelay.jobs.answer import Passage
from crewrelay.retrieval.collection import Collection, Embedding
from crewrelay.retrieval.embedder import Embedder
from crewrelay.retrieval.embedders.e5 import EMBEDDER

TIMEOUT = timedelta(seconds=10)


class CollectionRetriever:
    """Searches the collection that `opened` returns for the embedder. Thread-safe."""

    def __init__(
        self, opened: Callable[[Embedding], Collection], embedder: Embedder, timeout: timedelta = TIMEOUT
    ) -> None:
        self._opened = opened
        self._embedder = embedder
        self._timeout = timeout

    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        """The `top_k` best passages, best first, with scores from 0 to 1; none for a blank query.

        The search is limited to `timeout`, or this retriever's if shorter. Raises RetrievalError, and what the embedder
        raises.
        """
        if not query.strip() or top_k < 1:
            return []
        vector = self._embedder.query(query)
        collection = self._opened(Embedding(self._embedder.name, len(vector)))
        passages = collection.search(
            query, vector, top_k, self._timeout if timeout is None else min(timeout, self._timeout)
        )
        if self._embedder.name == EMBEDDER:
            return passages
        return [
            passage.model_copy(update={"similarity": None}) for passage in passages
        ]  # the scale of another embedder is unknown
