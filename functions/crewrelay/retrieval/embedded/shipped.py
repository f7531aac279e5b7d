"""The shipped corpus as a read-only collection."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from crewrelay.jobs.errors import RetrievalMisconfigured
from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Document, Embedding, Vector
from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS, load_index
from crewrelay.retrieval.embedded.pipeline import PassageSearch
from crewrelay.retrieval.embedded.sentences import SentenceSearch
from crewrelay.retrieval.embedders.e5 import DIMENSION, EMBEDDER

SHIPPED = "shipped"
SHIPPED_EMBEDDING = Embedding(EMBEDDER, DIMENSION)


class ShippedCollection:
    """A corpus with its prebuilt index, loaded on first use. Thread-safe.

    Raises StaleIndexError if the index does not match the corpus, CorpusError if the corpus can't be read.
    """

    def __init__(self, corpus: Path = SHIPPED_CORPUS) -> None:
        self._corpus = corpus
        self._lock = threading.Lock()
        self._loaded: tuple[list[Chunk], PassageSearch] | None = None

    def search(self, query: str, vector: Vector, top_k: int, timeout: timedelta) -> list[Passage]:
        return self._load()[1].search(query, vector, top_k)

    def digest(self, source: str) -> str | None:
        return next((document.digest for document in self.documents() if document.source == source), None)

    def documents(self) -> Iterator[Document]:
        digests: dict[str, hashlib._Hash] = {}
        for chunk in self._load()[0]:
            digests.setdefault(chunk.id.rpartition("#")[0], hashlib.sha256()).update(chunk.indexed_text.encode())
        return (Document(source, digest.hexdigest()) for source, digest in digests.items())

    def count(self) -> int:
        return len(self._load()[0])

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> NoReturn:
        refuse_change()

    def remove(self, source: str) -> NoReturn:
        refuse_change()

    def _load(self) -> tuple[list[Chunk], PassageSearch]:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    index = load_index(self._corpus)
                    self._loaded = (
                        index.chunks,
                        PassageSearch(index.chunks, index.embeddings, SentenceSearch(index.chunks, index.sentences)),
                    )
        return self._loaded


def refuse_change() -> NoReturn:
    raise RetrievalMisconfigured(f"The collection {SHIPPED!r} is part of crewrelay and can't be changed: name another.")
