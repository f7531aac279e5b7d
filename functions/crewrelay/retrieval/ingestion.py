"""Ingests files into a collection, one document at a time, so that memory use does not depend on their number.

A document is identified by its source; an unchanged digest of its chunks means that there is nothing to do. The digest
is written last, so that after an interruption the next ingestion writes that document again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from crewrelay.jobs.text import name
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Collection, Document, Vector
from crewrelay.retrieval.embedder import Embedder
from crewrelay.retrieval.reading.files import File, Unreadable, is_gone, lies_under, source_of
from crewrelay.retrieval.reading.reader import Reader


class Outcome(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REMOVED = "removed"


class Ingested(NamedTuple):
    """The outcome for one document: number of passages written, and the reason if it was skipped."""

    source: str
    outcome: Outcome
    passages: int = 0
    reason: str = ""


SLICE = 64  # chunks that are embedded between two reports


class Ingestion:
    """A dry run neither embeds nor writes; its `collection` is None if the collection does not exist yet.

    `embedded` is told of each slice of a document: the number of its chunks, and their share of the document.
    """

    def __init__(
        self,
        collection: Collection | None,
        embedder: Embedder,
        reader: Reader,
        dry_run: bool = False,
        embedded: Callable[[int, float], None] = lambda chunks, share: None,
    ) -> None:
        self._collection = collection
        self._embedder = embedder
        self._reader = reader
        self._dry_run = dry_run
        self._embedded = embedded

    def ingest(self, files: Iterable[File]) -> Iterator[Ingested]:
        """Yields one outcome per file as it is done. Raises what the collection and the embedder raise."""
        return map(self._one, files)

    def prune(self, paths: Sequence[Path]) -> Iterator[Ingested]:
        """Remove documents whose files were under these paths and no longer exist."""
        known = self._collection.documents() if self._collection else iter(())
        sources = (document.source for document in known)
        # Collect all first: the listing must not change while it is read.
        vanished = [one for one in sources if lies_under(one, paths) and is_gone(one)]
        for source in vanished:
            if self._collection and not self._dry_run:
                self._collection.remove(source)
            yield Ingested(source, Outcome.REMOVED)

    def _one(self, file: File) -> Ingested:
        source = source_of(file.path)
        if name(source) != source:
            return Ingested(name(source), Outcome.SKIPPED, reason="its name is not UTF-8 or has invisible characters")
        try:
            chunks = self._reader.read(file, source)
        except Unreadable as error:
            return Ingested(source, Outcome.SKIPPED, reason=str(error))
        document = Document(source, _digest(chunks))
        before = self._collection.digest(source) if self._collection else None
        if before == document.digest:
            return Ingested(source, Outcome.UNCHANGED)
        if self._collection and not self._dry_run:
            self._collection.put(document, chunks, self._vectors(chunks))
        return Ingested(source, Outcome.CHANGED if before else Outcome.ADDED, len(chunks))

    def _vectors(self, chunks: Sequence[Chunk]) -> list[Vector]:
        vectors: list[Vector] = []
        for start in range(0, len(chunks), SLICE):
            texts = [chunk.indexed_text for chunk in chunks[start : start + SLICE]]
            vectors.extend(self._embedder.passages(texts))
            self._embedded(len(texts), len(texts) / len(chunks))
        return vectors


def _digest(chunks: Sequence[Chunk]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        for part in astuple(chunk):
            digest.update(f"{part}\0".encode())
    return digest.hexdigest()
