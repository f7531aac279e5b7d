"""The port of embedders, which turn texts into vectors."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Returns vectors of length 1. Thread-safe. A remote one raises RetrievalUnavailable and Misconfigured."""

    @property
    def name(self) -> str:
        """`provider/model`, recorded by collections, because vectors of different embedders can't be compared."""

    @property
    def dimension(self) -> int: ...

    def query(self, text: str) -> Vectors:
        """A vector of shape (dimension,)."""

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimension)."""
