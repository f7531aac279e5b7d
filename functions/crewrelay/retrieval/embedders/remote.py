"""Embedders behind an API."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from crewrelay.jobs.errors import RetrievalUnavailable
from crewrelay.jobs.text import well_formed
from crewrelay.retrieval.embedder import Vectors

Purpose = Literal["query", "passage"]
Embed = Callable[[Sequence[str], Purpose], Sequence[Sequence[float]]]

BATCH = 64  # texts per request
LONGEST_QUERY = 8_000  # characters; models accept at most about 8,000 tokens


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
