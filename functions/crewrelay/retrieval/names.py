"""What documents and files say of themselves, as it is let in: titles, headings, addresses, paths.

They are shown in terminals and pages, and stand in every passage of a document.
"""

import re

LONGEST = 300  # characters of a title or a heading

# What a terminal obeys, what begins a line, what turns the direction of writing, and half a surrogate pair.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SCHEME = re.compile(r"[^/?#\\]*:")
_LONGEST_ADDRESS = 2_000


def one_line(text: str) -> str:
    """White space is a blank, and control characters go."""
    return _CONTROL.sub("", " ".join(text.split()))


def name(text: str) -> str:
    """A title or a heading."""
    return one_line(text)[:LONGEST]


def shown(path: str) -> str:
    """A path for people to read. It is another one than the path if that can't be shown as it is."""
    return _CONTROL.sub("?", path)


def address(url: str, source: str) -> str:
    """Where a reader finds the document: `url` if it is of HTTP or relative, else its source."""
    url = one_line(url)
    if 0 < len(url) <= _LONGEST_ADDRESS and (url.lower().startswith(("http://", "https://")) or not _SCHEME.match(url)):
        return url
    return f"./{source}" if _SCHEME.match(source) else source  # a path may begin as `javascript:` does
