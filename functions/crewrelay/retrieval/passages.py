"""Selects the passages to return from search results."""

from collections.abc import Iterable
from typing import NamedTuple

from crewrelay.jobs.records.answer import Excerpt, Passage

CHUNKS_A_PASSAGE = 4  # candidates per passage: some are contained in the passages of others


class Found(NamedTuple):
    """A chunk that a search found, with the fields of the passage that it may become."""

    id: str
    title: str
    url: str
    text: str
    excerpt: str
    score: float
    similarity: float


def document_of(id_: str) -> str:
    """The document of a chunk, or of the passage around it."""
    return id_.rpartition("#")[0]


def distinct(found: Iterable[Found], top_k: int) -> list[Passage]:
    """The first `top_k`, without those whose excerpt an earlier passage contains: neighbouring passages overlap.

    The passages that contain it keep that it was found.
    """
    chosen: list[tuple[str, Found, list[Excerpt]]] = []
    for one in found:
        of = document_of(one.id)
        around = [also for document, other, also in chosen if document == of and one.excerpt in other.text]
        for also in around:
            also.append(Excerpt(text=one.excerpt, similarity=one.similarity))
        if not around and len(chosen) < top_k:
            chosen.append((of, one, []))
    return [Passage(**one._asdict(), also_found=tuple(also)) for _, one, also in chosen]
