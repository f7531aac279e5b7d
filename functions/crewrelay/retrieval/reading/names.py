"""What documents and files say of themselves, as it is let in: titles, headings, addresses, paths.

They are shown in terminals and pages, and stand in every passage of a document.
"""

import re

from crewrelay.jobs.text import in_one_line, link

LONGEST = 300  # characters of a title or a heading

# What a terminal obeys, what begins a line, what turns the direction of writing, and half a surrogate pair.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SCHEME = re.compile(r"[^/?#\\]*:")
_LONGEST_ADDRESS = 2_000


def name(text: str) -> str:
    """A title or a heading."""
    return in_one_line(text)[:LONGEST]


def shown(path: str) -> str:
    """A path for people to read. It is another one than the path if that can't be shown as it is."""
    return _CONTROL.sub("?", path)


def address(url: str, source: str) -> str:
    """Where a reader finds the document: `url` if it is of HTTP or relative, else its source."""
    if len(url) <= _LONGEST_ADDRESS and (safe := link(url)):
        return safe
    return f"./{source}" if _SCHEME.match(source) else source  # a path may begin as `javascript:` does
