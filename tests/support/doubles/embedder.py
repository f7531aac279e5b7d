"""An embedder whose vectors are bags of words: deterministic, and for nothing."""

import re
import zlib
from collections.abc import Sequence

import numpy as np

from crewrelay.retrieval.embedder import Vectors

DIMENSION = 64


def bag_of_words(text: str) -> Vectors:
    vector = np.full(DIMENSION, 1e-3, dtype=np.float32)
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % DIMENSION] += 1
    vector /= np.linalg.norm(vector)
    return vector


class WordEmbedder:
    """`embedded` is every passage that it was asked for."""

    name = "fake/words"
    dimension = DIMENSION

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def query(self, text: str) -> Vectors:
        return bag_of_words(text)

    def passages(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        return np.stack([bag_of_words(text) for text in texts])
