"""Selects the passages to return from search results."""

from collections.abc import Iterable

from crewrelay.jobs.records.answer import Passage

CHUNKS_A_PASSAGE = 4  # candidates per passage: some are contained in the passages of others


def distinct(found: Iterable[Passage], top_k: int) -> list[Passage]:
    """The first `top_k`, without those whose excerpt an earlier passage contains: neighbouring passages overlap."""
    chosen: list[Passage] = []
    for passage in found:
        if len(chosen) >= top_k:
            break
        if not any(passage.excerpt in one.text for one in chosen if _document(one) == _document(passage)):
            chosen.append(passage)
    return chosen


def _document(passage: Passage) -> str:
    return passage.id.rpartition("#")[0]
