"""Numbers the passages of a run, and checks that an answer cites only those."""

import html
import re
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crewrelay.crews.passages.links import BEGIN, CODE, END, without_links
from crewrelay.jobs.records.answer import Passage, Source
from crewrelay.jobs.text import shown

_GAP = r"[\s\u200c\u200d]*+"
_NUMBERS = rf"\d++(?:{_GAP}[,;–-]{_GAP}\d++)*+"
# Code comes first: an index such as a[1] in it is no citation.
_CITATION = re.compile(
    rf"{CODE}"
    rf"|\\?[\[［]{_GAP}\^?(?P<numbers>{_NUMBERS}){_GAP}\\?[\]］]"
    rf"|【{_GAP}(?P<others>{_NUMBERS})(?:†[^【】\n]*+)?】",
    re.DOTALL,
)
_ENTITY = re.compile(rf"{CODE}|(?P<entity>&(?:#\d{{2,7}}|#[xX][\da-fA-F]{{2,6}}|[lr](?:brack|sqb));)", re.DOTALL)
_MARKED = re.compile(rf"{BEGIN}(\d+){END}")
_NUMBER_OR_RANGE = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")
_WIDEST = 20  # numbers in a range such as 5-7; a wider one is taken as its two ends
_DIGITS = 9  # of a number; no passage has a longer one
_MOST_UNKNOWN = 100  # numbers that are reported


class Cited(NamedTuple):
    """A text whose every citation is the number of one of `sources`; `unknown` are the numbers that were removed."""

    text: str
    sources: tuple[Source, ...]
    unknown: tuple[int, ...]


class Bibliography:
    """Numbers passages from 1 in the order of retrieval. Thread-safe. `searched` is whether there was a search.

    A passage from the journal keeps its number: prompts of a resumed run must not depend on which of its searches is
    answered first.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._passages: dict[int, Passage] = {}
        self._numbers: dict[str, int] = {}
        self.searched = False

    def number(self, passages: Sequence[Passage]) -> list[Passage]:
        """The passages with their numbers."""
        with self._turn:
            self.searched = True
            return [self._numbered(passage) for passage in passages]

    def _numbered(self, passage: Passage) -> Passage:
        number = passage.number or self._numbers.get(passage.id) or max(self._passages, default=0) + 1
        self._numbers.setdefault(passage.id, number)
        self._passages.setdefault(number, passage)
        return passage.model_copy(update={"number": number})

    def cite(self, text: str) -> Cited:
        """The text with its citations renumbered as they appear: `[2, 5-7]`, `[^2]` and `【2】` become `[1][2]…`.

        A number that no passage has is removed. A citation is never a link: its target would come from the model.
        """
        cited: dict[int, int] = {}
        unknown: dict[int, None] = {}

        def marked(match: re.Match[str]) -> str:
            numbers = match["numbers"] or match["others"]
            if numbers is None:
                return match[0]
            here: dict[int, None] = {}
            for number in _each(numbers):
                if number in self._passages:
                    here[number] = None
                elif len(unknown) < _MOST_UNKNOWN:
                    unknown[number] = None
            return "".join(f"{BEGIN}{number}{END}" for number in here) or BEGIN + END

        text = without_links(_CITATION.sub(marked, _ENTITY.sub(_bracket_or_digit, shown(text))))
        text = _CITATION.sub(_no_citation, text)
        text = _MARKED.sub(lambda match: f"[{cited.setdefault(int(match[1]), len(cited) + 1)}]", text)
        sources = (
            Source(number=new, **self._passages[old].model_dump(include={"id", "title", "url", "text", "excerpt"}))
            for old, new in cited.items()
        )
        return Cited(text, tuple(sources), tuple(unknown))


def _bracket_or_digit(match: re.Match[str]) -> str:
    """The bracket or digit that an HTML entity stands for; any other entity is left."""
    character = html.unescape(match["entity"] or "")
    return character if character and character in "[]0123456789" else match[0]


def _no_citation(match: re.Match[str]) -> str:
    """Removing a citation may join its neighbours to a new one, which is not checked: (1), not [1]."""
    numbers = match["numbers"] or match["others"]
    if numbers is None:
        return match[0]
    apart = " " if match.string[: match.start()].endswith(("]", END)) else ""  # lest it be a link's target
    return f"{apart}({numbers})"


def _each(numbers: str) -> Iterator[int]:
    for match in _NUMBER_OR_RANGE.finditer(numbers):
        first, last = (int(digits[:_DIGITS]) for digits in (match[1], match[2] or match[1]))
        if 0 <= last - first < _WIDEST:
            yield from range(first, last + 1)
        else:
            yield from (first, last)
