"""The port of what turns texts into vectors."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Vectors of length 1, all of one space. Safe to use from many threads at once.

    Raises RetrievalUnavailable and Misconfigured if it asks a server.
    """

    @property
    def name(self) -> str:
        """What a collection records, `provider/model`: another embedder's vectors can't be compared with its own."""

    @property
    def dimension(self) -> int: ...

    def query(self, text: str) -> Vectors:
        """(dimension,)"""

    def passages(self, texts: Sequence[str]) -> Vectors:
        """(len(texts), dimension)"""
