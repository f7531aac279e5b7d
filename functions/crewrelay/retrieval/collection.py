"""What holds passages, whichever store it is: the port that retrieval searches and ingestion fills."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from crewrelay.jobs.answer import Passage
from crewrelay.jobs.errors import RetrievalMisconfigured
from crewrelay.retrieval.chunks import Chunk

Vector = npt.NDArray[np.float32]  # (dimension,), of length 1


_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def checked_name(name: str) -> str:
    """The name of a collection as it is. Raises RetrievalMisconfigured unless it is one that every store can take."""
    if not _NAME.fullmatch(name):
        raise RetrievalMisconfigured(
            f"{name!r} is no name for a collection: a lower-case letter, then up to 62 of a-z, 0-9, '-' and '_'"
        )
    return name


DOCUMENTS = "documents"  # the collection where none is named


class Embedding(NamedTuple):
    """Whose vectors a collection holds: those of another embedder can't be compared with them."""

    embedder: str
    dimension: int


class Document(NamedTuple):
    """What a collection knows of a document: where it came from, and the SHA-256 of what was made of it."""

    source: str
    digest: str


class Collection(Protocol):
    """Passages by document. Every method may raise a RetrievalError."""

    def search(self, query: str, vector: Vector, top_k: int, timeout: timedelta) -> list[Passage]:
        """Hybrid: dense and keyword scores, each scaled to 0…1, with weights 0.85 and 0.15. Best first.

        Answers or raises within `timeout`.
        """

    def digest(self, source: str) -> str | None:
        """That of the document as it stands, None if there is none or its last `put` was interrupted."""

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        """Put the document in the place of the one with its source. May be repeated, and interrupted at any point:
        the digest is written last, and chunks that are no longer there go before it.
        """

    def remove(self, source: str) -> None: ...

    def documents(self) -> Iterator[Document]: ...

    def count(self) -> int:
        """The passages in it."""


class Collections(Protocol):
    """The collections of one store. Every method may raise a RetrievalError, RetrievalMisconfigured for a bad name."""

    @property
    def place(self) -> str:
        """Where the store is, for people: a folder or a server."""

    def default(self) -> str:
        """The name of the collection that is searched where none is named."""

    def open(self, name: str, embedding: Embedding) -> Collection:
        """Raises CollectionMissing, and EmbedderMismatch if it holds another embedder's vectors."""

    def create(self, name: str, embedding: Embedding) -> Collection:
        """Opens it, and makes it if there is none. Raises EmbedderMismatch."""

    def names(self) -> list[str]: ...

    def embedding(self, name: str) -> Embedding:
        """Raises CollectionMissing."""

    def delete(self, name: str) -> None:
        """Raises CollectionMissing."""

    def close(self) -> None:
        """Let go of what is open; the next call opens it again."""
