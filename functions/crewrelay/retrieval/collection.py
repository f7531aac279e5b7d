"""The ports of passage stores: collections, which retrieval searches and ingestion fills."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from crewrelay.jobs.access import CollectionName
from crewrelay.jobs.errors import EmbedderMismatch, RetrievalMisconfigured
from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.chunks import Chunk

Vector = npt.NDArray[np.float32]  # (dimension,), of length 1


_NAME = TypeAdapter[str](CollectionName)


def checked_name(name: str) -> str:
    """The name, unchanged. Raises RetrievalMisconfigured unless every store accepts it."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise RetrievalMisconfigured(
            f"{name!r} is not a valid collection name: use a lower-case letter, then up to 62 of a-z, 0-9, '-' and '_'"
        ) from None


DOCUMENTS = "documents"  # the default collection for ingestion


# The weight of the dense scores in a hybrid search; the keyword scores have the rest. Reciprocal rank fusion instead
# halves recall across languages, where keywords match only noise.
ALPHA = 5 / 6


class Embedding(NamedTuple):
    """The embedder and dimension of a collection's vectors; vectors of different embedders can't be compared."""

    embedder: str
    dimension: int


def require_embedding(name: str, found: Embedding, expected: Embedding) -> None:
    """Raises EmbedderMismatch unless both are equal."""
    if found != expected:
        raise EmbedderMismatch(
            f"The collection {name!r} holds vectors of {found.embedder} ({found.dimension} dimensions), "
            f"not of {expected.embedder} ({expected.dimension} dimensions)."
        )


class Document(NamedTuple):
    """A document in a collection: its source, and the SHA-256 of its chunks."""

    source: str
    digest: str


class Collection(Protocol):
    """The passages of documents. Every method may raise a RetrievalError."""

    def search(self, query: str, vector: Vector, top_k: int, timeout: timedelta) -> list[Passage]:
        """Hybrid search: the sum of dense and keyword scores up to 1, weighted with ALPHA and 1 − ALPHA. Best first.

        Returns or raises within `timeout`.
        """

    def digest(self, source: str) -> str | None:
        """The digest of a stored document; None if it is unknown or its last `put` was interrupted."""

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        """Insert the document, or replace the one with the same source. Idempotent, and safe to interrupt: stale chunks
        are deleted first, the digest is written last.
        """

    def remove(self, source: str) -> None: ...

    def documents(self) -> Iterator[Document]: ...

    def count(self) -> int:
        """The number of passages."""


class Collections(Protocol):
    """The collections of one store. Every method may raise a RetrievalError, RetrievalMisconfigured for a bad name."""

    @property
    def place(self) -> str:
        """A description of the store's location, for messages."""

    def open(self, name: str, embedding: Embedding, timeout: timedelta | None = None) -> Collection:
        """Raises CollectionMissing, and EmbedderMismatch if it holds another embedder's vectors.

        Returns or raises within `timeout`, or the store's own.
        """

    def create(self, name: str, embedding: Embedding) -> Collection:
        """Open the collection, creating it if absent. Raises EmbedderMismatch."""

    def names(self) -> list[str]: ...

    def embedding(self, name: str) -> Embedding:
        """Raises CollectionMissing."""

    def delete(self, name: str) -> None:
        """Deletes what there is of it, even if it can't be opened. Raises CollectionMissing."""

    def close(self) -> None:
        """Release connections; the next call reopens them."""
