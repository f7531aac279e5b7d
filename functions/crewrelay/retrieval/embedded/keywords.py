"""BM25 over character 4-grams, in arrays: without a loop over texts in Python it is built in a fraction of the time."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crewrelay.retrieval.words import SIZE, content, plain

Floats = npt.NDArray[np.float32]

_K1, _B = 1.2, 0.75
_LITTLE = 20  # weight of a query below which keywords matter less: few or common words distinguish nothing
_SPACE = ord(" ")
_MIX = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
_BITS = np.uint64(32)  # of a 4-gram's hash, and of a row


class KeywordIndex:
    """The BM25 weights of the 4-grams of texts; row i belongs to texts[i]."""

    def __init__(self, texts: Sequence[str]) -> None:
        letters = [plain(text) for text in texts]
        hashes, starts = _hashed("".join(letters))
        rows = np.repeat(np.arange(len(texts), dtype=np.uint64), [len(text) for text in letters])[starts]
        keys, counts = np.unique(hashes << _BITS | rows, return_counts=True)
        self._rows = keys.astype(np.uint32)
        self._grams, first = np.unique(keys >> _BITS, return_index=True)
        self._bounds = np.append(first, len(keys))
        lengths = np.bincount(rows.astype(np.intp), minlength=len(texts))
        norms = _K1 * (1 - _B + _B * lengths / max(1.0, lengths.sum() / max(1, len(texts))))
        self._weights = (counts / (counts + norms[self._rows])).astype(np.float32)
        self._texts = len(texts)

    def scores(self, query: str) -> Floats:
        """For each text, how much it has of the query without stop words: from 0 to 1. Rare 4-grams weigh more."""
        wanted = np.unique(_hashed(content(query))[0])
        at = np.searchsorted(self._grams, wanted)
        known = np.append(self._grams, 0)[at] == wanted
        bounds = np.append(self._bounds, self._bounds[-1])
        first, last = bounds[at], np.where(known, bounds[at + 1], bounds[at])
        held = last - first
        rarities = np.log(1 + (self._texts - held + 0.5) / (held + 0.5))
        scores = np.zeros(self._texts, dtype=np.float32)
        for start, end, rarity in zip(first, last, rarities, strict=True):
            scores[self._rows[start:end]] += self._weights[start:end] * np.float32(rarity)
        return scores / np.float32(rarities.sum() + _LITTLE)


def _hashed(letters: str) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """Hashes of the 4-grams of a plain text, and where each begins. None spans two words, and so none two texts."""
    codes = np.frombuffer(letters.encode("utf-32-le"), dtype="<u4").astype(np.uint64)
    windows = (
        np.lib.stride_tricks.sliding_window_view(codes, SIZE) if len(codes) >= SIZE else np.empty((0, SIZE), np.uint64)
    )
    starts = np.flatnonzero((windows[:, 1:-1] != _SPACE).all(axis=1))
    mixed = np.zeros(len(starts), dtype=np.uint64)
    for place in range(SIZE):
        mixed = (mixed ^ windows[starts, place]) * _MIX
    return mixed >> _BITS, starts
