"""The passages that a run has seen, numbered, and the check that an answer cites only those."""

import re
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crewrelay.jobs.answer import Passage, Source

_NUMBERS = r"\d+(?:\s*[,;–-]\s*\d+)*"
# Code comes first: an index in it is no citation. A link's address goes with its citation, for no passage gave it.
_CITATION = re.compile(
    r"```.*?```|`[^`\n]+`"
    rf"|(?P<space>[ \t]*)(?:\[\^?(?P<numbers>{_NUMBERS})\]|【(?P<others>{_NUMBERS})(?:†[^】\n]*)?】)(?:\([^()\s]*\))?",
    re.DOTALL,
)
_NUMBER_OR_RANGE = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")
_WIDEST = 20  # numbers of a range
_DIGITS = 9  # enough to tell that no passage has such a number


class Cited(NamedTuple):
    """A text whose every citation stands for one of `sources`; `unknown` are the numbers that were taken out."""

    text: str
    sources: tuple[Source, ...]
    unknown: tuple[int, ...]


class Bibliography:
    """Numbers passages from 1 as they are retrieved, by whichever thread; `asked` once there was a search.

    A passage that comes with a number, out of the journal, keeps it: what a resumed run is shown must not depend on
    which of its searches is answered first.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._passages: dict[int, Passage] = {}
        self._numbers: dict[str, int] = {}
        self.asked = False

    def number(self, passages: Sequence[Passage]) -> list[Passage]:
        """The passages with their numbers."""
        with self._turn:
            self.asked = True
            return [self._numbered(passage) for passage in passages]

    def _numbered(self, passage: Passage) -> Passage:
        number = passage.number or self._numbers.get(passage.id) or max(self._passages, default=0) + 1
        self._numbers.setdefault(passage.id, number)
        self._passages.setdefault(number, passage)
        return passage.model_copy(update={"number": number})

    def cite(self, text: str) -> Cited:
        """The text with its citations renumbered as they appear: `[2, 5-7]`, `[^2]` and `【2】` become `[1][2]…`.

        A number that no passage has is taken out: it would cite nothing.
        """
        cited: dict[int, int] = {}
        unknown: dict[int, None] = {}

        def renumbered(match: re.Match[str]) -> str:
            numbers = match["numbers"] or match["others"]
            if numbers is None:
                return match[0]
            here: dict[int, None] = {}
            for number in _each(numbers):
                if number in self._passages:
                    here[cited.setdefault(number, len(cited) + 1)] = None
                else:
                    unknown[number] = None
            return match["space"] + "".join(f"[{number}]" for number in here) if here else ""

        text = _CITATION.sub(renumbered, text)
        sources = (
            Source(number=new, **self._passages[old].model_dump(include={"id", "title", "url", "text", "excerpt"}))
            for old, new in cited.items()
        )
        return Cited(text, tuple(sources), tuple(unknown))


def _each(numbers: str) -> Iterator[int]:
    for match in _NUMBER_OR_RANGE.finditer(numbers):
        first, last = (int(digits[:_DIGITS]) for digits in (match[1], match[2] or match[1]))
        if 0 <= last - first < _WIDEST:
            yield from range(first, last + 1)
        else:
            yield from (first, last)
