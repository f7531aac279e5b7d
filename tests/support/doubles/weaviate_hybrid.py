"""How a double of Weaviate finds: the best by BM25 and by cosine, their scores scaled to 0…1, weighted and added."""

import math
import re
from collections import Counter, defaultdict
from enum import StrEnum
from uuid import UUID

import numpy as np
import numpy.typing as npt

CANDIDATES = 100  # of each search, before they are fused
K1, B = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+")

Vector = npt.NDArray[np.float32]


class Tokenization(StrEnum):
    WORD = "word"
    TRIGRAM = "trigram"
    FIELD = "field"

    def tokens(self, text: str) -> list[str]:
        words = _WORD.findall(text.lower())
        if self is Tokenization.WORD:
            return words
        if self is Tokenization.TRIGRAM:
            letters = "".join(words)
            return [letters[start : start + 3] for start in range(len(letters) - 2)]
        return [text.strip()]


class HybridSearch:
    """Over the texts of each object, one for each property that is searched, and its vector."""

    def __init__(self, texts: dict[UUID, list[tuple[str, Tokenization]]], vectors: dict[UUID, Vector]) -> None:
        self._vectors = vectors
        self._tokenizations = {tokenization for each in texts.values() for _, tokenization in each}
        self._held = {
            id_: Counter(token for text, tokenization in each for token in tokenization.tokens(text))
            for id_, each in texts.items()
        }
        self._found = Counter(token for held in self._held.values() for token in held)
        self._average = sum(held.total() for held in self._held.values()) / (len(self._held) or 1)

    def best(self, query: str, vector: Vector, alpha: float, limit: int) -> list[tuple[UUID, float]]:
        unit = vector / np.linalg.norm(vector)
        dense = {id_: float(np.dot(one, unit)) for id_, one in self._vectors.items()}
        wanted = {token for tokenization in self._tokenizations for token in tokenization.tokens(query)}
        keyword = {id_: score for id_, held in self._held.items() if (score := self._bm25(wanted, held)) > 0}
        sums: dict[UUID, float] = defaultdict(float)
        for scores, weight in ((dense, alpha), (keyword, 1 - alpha)):
            best = sorted(scores, key=lambda id_: (-scores[id_], str(id_)))[: max(CANDIDATES, limit)]
            low, high = (min(scores[id_] for id_ in best), max(scores[id_] for id_ in best)) if best else (0.0, 0.0)
            for id_ in best:
                sums[id_] += weight * ((scores[id_] - low) / (high - low) if high > low else 1.0)
        return sorted(sums.items(), key=lambda found: (-found[1], str(found[0])))[:limit]

    def _bm25(self, wanted: set[str], held: Counter[str]) -> float:
        norm = K1 * (1 - B + B * held.total() / (self._average or 1))
        return math.fsum(
            math.log(1 + (len(self._held) - self._found[token] + 0.5) / (self._found[token] + 0.5))
            * held[token]
            * (K1 + 1)
            / (held[token] + norm)
            for token in wanted & held.keys()
        )
