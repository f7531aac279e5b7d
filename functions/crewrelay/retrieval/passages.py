"""What was found, as passages to read."""

from collections.abc import Iterable

from crewrelay.jobs.answer import Passage

CHUNKS_A_PASSAGE = 4  # to be looked at: some are shown by the passages of others


def distinct(found: Iterable[Passage], top_k: int) -> list[Passage]:
    """The first `top_k`, without those whose excerpt an earlier passage shows: the passages of neighbours overlap."""
    chosen: list[Passage] = []
    for passage in found:
        if len(chosen) >= top_k:
            break
        if not any(passage.excerpt in one.text for one in chosen if _document(one) == _document(passage)):
            chosen.append(passage)
    return chosen


def _document(passage: Passage) -> str:
    return passage.id.rpartition("#")[0]
