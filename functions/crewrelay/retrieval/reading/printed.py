"""Extracts running text from printed pages: drops headers and footers, and joins broken lines."""

import re
from collections import Counter

from crewrelay.retrieval.reading.conversion import cleaned

_NUMBER = re.compile(r"\d+")
_BROKEN_WORD = re.compile(r"(?<=[^\W\d_])-\n(?=[a-z])")
_BROKEN_LINE = re.compile(r"(?<!\n)\n(?!\n)")


def running_text(text: str) -> str:
    """The text without headers, footers and line breaks; the input has a form feed between pages."""
    pages = [cleaned(page).split("\n") for page in text.split("\f")]
    for edge in (0, 0, -1, -1):  # at most two lines of header and footer each
        _drop_repeated(pages, edge)
    joined = "\n".join("\n".join(lines) for lines in pages if lines)
    return _BROKEN_LINE.sub(" ", _BROKEN_WORD.sub("", joined)).strip()


def _drop_repeated(pages: list[list[str]], edge: int) -> None:
    """Delete a first or last line that is the same on most pages except for numbers."""
    lines = Counter(_NUMBER.sub("", page[edge]).strip() for page in pages if page)
    for page in pages:
        if page and lines[_NUMBER.sub("", page[edge]).strip()] > max(2, len(pages) / 2):
            del page[edge]
