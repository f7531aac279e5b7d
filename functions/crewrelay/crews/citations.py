"""The passages that a run has seen, numbered, and the check that an answer cites only those."""

import re
from collections.abc import Sequence

from crewrelay.jobs.answer import Passage, Source

# Code comes first: an index in it is no citation.
_CITATION = re.compile(r"```.*?```|`[^`\n]+`|(?P<space>[ \t]*)\[(?P<numbers>\d+(?:\s*[,;]\s*\d+)*)\]", re.DOTALL)


class Bibliography:
    """Numbers passages from 1 in the order in which they were first retrieved."""

    def __init__(self) -> None:
        self._passages: dict[str, Passage] = {}

    def number(self, passages: Sequence[Passage]) -> list[tuple[int, Passage]]:
        for passage in passages:
            self._passages.setdefault(passage.id, passage)
        order = {passage_id: number for number, passage_id in enumerate(self._passages, 1)}
        return [(order[passage.id], passage) for passage in passages]

    def cite(self, text: str) -> tuple[str, tuple[Source, ...]]:
        """The text with its citations renumbered as they appear, and their sources.

        A number that no passage has is taken out: it would cite nothing.
        """
        seen = list(self._passages.values())
        seen_as = {str(number): number for number in range(1, len(seen) + 1)}
        cited: dict[int, int] = {}

        def renumbered(match: re.Match[str]) -> str:
            if match["numbers"] is None:
                return match[0]
            known = [seen_as[number] for number in re.findall(r"\d+", match["numbers"]) if number in seen_as]
            numbers = dict.fromkeys(cited.setdefault(number, len(cited) + 1) for number in known)
            return match["space"] + "".join(f"[{number}]" for number in numbers) if numbers else ""

        text = _CITATION.sub(renumbered, text)
        sources = (
            Source(number=new, **seen[old - 1].model_dump(include={"id", "title", "url", "text"}))
            for old, new in cited.items()
        )
        return text, tuple(sources)
