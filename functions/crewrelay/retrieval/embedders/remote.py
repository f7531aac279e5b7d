"""Embedders behind an API."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np

from crewrelay.jobs.errors import RetrievalUnavailable
from crewrelay.jobs.text import well_formed
from crewrelay.retrieval.embedder import Embedder, Vectors

T = TypeVar("T")
Purpose = Literal["query", "passage"]
Embed = Callable[[Sequence[str], Purpose], Sequence[Sequence[float]]]

BATCH = 64  # texts per request
LONGEST_QUERY = 8_000  # characters; models accept at most about 8,000 tokens


class PersistentEmbedder:
    """Retries with exponential backoff, for ingestion, which no queue retries."""

    def __init__(self, embedder: Embedder, pause: Callable[[float], None], attempts: int = 6) -> None:
        self._embedder = embedder
        self._pause = pause
        self._attempts = attempts

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def dimension(self) -> int:
        return self._persist(lambda: self._embedder.dimension)

    def query(self, text: str) -> Vectors:
        return self._persist(lambda: self._embedder.query(text))

    def passages(self, texts: Sequence[str]) -> Vectors:
        return self._persist(lambda: self._embedder.passages(texts))

    def _persist(self, ask: Callable[[], T]) -> T:
        for attempt in range(1, self._attempts):
            try:
                return ask()
            except RetrievalUnavailable:
                self._pause(2.0**attempt / 2)
        return ask()


class RemoteEmbedder:
    """An Embedder over `embed`, which makes one request and raises what an Embedder may raise."""

    def __init__(self, name: str, embed: Embed) -> None:
        self.name = name
        self._embed = embed

    @cached_property
    def dimension(self) -> int:
        """Found by embedding a word, because no list of models would be complete."""
        return len(self.query("dimension"))

    def query(self, text: str) -> Vectors:
        vector: Vectors = self._asked([text[:LONGEST_QUERY]], "query")[0]
        return vector

    def passages(self, texts: Sequence[str]) -> Vectors:
        return np.concatenate(
            [self._asked(texts[start : start + BATCH], "passage") for start in range(0, len(texts), BATCH)]
        )

    def _asked(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        answer = self._embed([well_formed(text) for text in texts], purpose)
        if len(answer) != len(texts) or len({len(vector) for vector in answer}) != 1 or not answer[0]:
            raise RetrievalUnavailable(f"The embedder {self.name} returned invalid vectors for {len(texts)} texts.")
        vectors = np.array(answer, dtype=np.float32)
        lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(lengths, np.finfo(np.float32).tiny)
        return vectors
