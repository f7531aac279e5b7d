"""Cleans titles, headings and addresses of documents, which are shown in terminals and pages with each passage."""

import re

from crewrelay.jobs.text import in_one_line, link

LONGEST = 300  # characters of a title or a heading

_SCHEME = re.compile(r"[^/?#\\]*:")
_LONGEST_ADDRESS = 2_000


def title(text: str) -> str:
    """A title or heading as one line of at most LONGEST characters."""
    return in_one_line(text)[:LONGEST]


def address(url: str, source: str) -> str:
    """The link to a document: `url` if it is relative, http or https, else its source."""
    if len(url) <= _LONGEST_ADDRESS and (safe := link(url)):
        return safe
    return f"./{source}" if _SCHEME.match(source) else source  # a path may look like `javascript:…`
