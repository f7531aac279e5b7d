"""Splits pages into chunks of a few sentences, which are searched, each with a larger passage around it to read.

The embedding of a short text is more specific; a reader needs the context.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

# In words. A chunk ends at the first paragraph end after MIN, or before the sentence that would exceed MAX. A section's
# remainder shorter than TAIL joins the chunk before it.
MIN_WORDS, MAX_WORDS, TAIL_WORDS = 30, 60, 15
LONGEST = MAX_WORDS + TAIL_WORDS  # a longer "sentence" is a table, a list or code
PASSAGE_WORDS = 400

_HEADER = re.compile(r"\ATitle: (?P<title>.+)\nSource: (?P<url>.+)\n")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\S[^\n]*(?:\n[^\n]+)*")
_SENTENCE_END = re.compile(r"[.!?]['\")\]’”]*\s+(?=['\"(\[‘“]*[^\W_a-z])|[。！？]+\s*(?=\S)")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|Dr|Mr|Mrs|Ms|St|Fig|No)|\b[A-Z])\.\s+\Z")
_LONGEST_ABBREVIATION = 8
_PIECE = re.compile(r"\S{1,200}\s*")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


class CorpusError(ValueError):
    """A corpus file without the expected header, or a folder without any."""


class Section(NamedTuple):
    """A part of a page; `heading` is "" before the first heading."""

    heading: str
    text: str


class Page(NamedTuple):
    """The text of a file, before it is split into chunks."""

    title: str
    url: str
    sections: list[Section]


@dataclass(frozen=True)
class Chunk:
    """`text` is verbatim, `heading` that of its section. `passage` is the text with its surroundings, up to
    PASSAGE_WORDS, each section under its heading.
    """

    id: str
    title: str
    url: str
    heading: str
    text: str
    passage: str

    @property
    def indexed_text(self) -> str:
        """The text that is embedded and searched: with title and heading, which a chunk seldom repeats."""
        return f"{self.title}. {self.heading}\n{self.text}" if self.heading else f"{self.title}\n{self.text}"


class _Piece(NamedTuple):
    """Position of a chunk: the index of its section, and start and end in the section's text."""

    section: int
    start: int
    end: int


@dataclass(frozen=True)
class _Sentence:
    start: int
    end: int
    words: int
    may_close: bool = False


def corpus_chunks(corpus: Path) -> list[Chunk]:
    """All chunks of the `*.txt` files under a folder, in path order; those of `sqlite/wal.txt` have the ids
    `sqlite/wal#1`, `sqlite/wal#2` …

    Raises CorpusError if there is no file, or one does not begin with `Title:` and `Source:` lines.
    """
    files = sorted(corpus.rglob("*.txt"), key=lambda path: path.relative_to(corpus).as_posix())
    if not files:
        raise CorpusError(f"no .txt files under {corpus}")
    return [
        chunk
        for path in files
        for chunk in page_chunks(path.relative_to(corpus).with_suffix("").as_posix(), path.read_text("utf-8"))
    ]


def page_chunks(name: str, text: str) -> list[Chunk]:
    """The chunks of one corpus file. Raises CorpusError."""
    page = titled_page(text)
    if page is None:
        raise CorpusError(f"{name}: must begin with a line 'Title: …' and a line 'Source: …'")
    return chunks_of(name, page)


def titled_page(text: str) -> Page | None:
    """Parse a text with `Title:` and `Source:` lines and sections under `#` headings; None without these lines."""
    header = _HEADER.match(text)
    return header and Page(header["title"], header["url"], list(_sections(text, header.end())))


def chunks_of(name: str, page: Page) -> list[Chunk]:
    """The chunks of one page, with the ids `name#1`, `name#2` … No chunk crosses a heading or splits a sentence."""
    pieces = [
        _Piece(number, start, end)
        for number, section in enumerate(page.sections)
        for start, end in _packed(list(_sentences(section.text)))
    ]
    words = [_words(_shown(page, one, before)) for before, one in zip([None, *pieces], pieces, strict=False)]
    return [
        Chunk(
            f"{name}#{number}",
            page.title,
            page.url,
            page.sections[piece.section].heading,
            page.sections[piece.section].text[piece.start : piece.end],
            _passage(page, pieces[_around(number - 1, words)]),
        )
        for number, piece in enumerate(pieces, start=1)
    ]


def _shown(page: Page, piece: _Piece, before: _Piece | None) -> str:
    """A piece's text, with the heading if it is the first piece of its section."""
    heading, text = page.sections[piece.section]
    continued = before is not None and before.section == piece.section
    return f"{'' if continued else heading} {text[piece.start : piece.end]}"


def _around(number: int, words: list[int]) -> slice:
    """The pieces that form the passage around piece `number`: grows on both sides while PASSAGE_WORDS allow."""
    first = last = number
    left = PASSAGE_WORDS - words[number]
    grows = True
    while grows:
        grows = False
        for side in (first - 1, last + 1):
            if 0 <= side < len(words) and words[side] <= left:
                first, last, left, grows = min(first, side), max(last, side), left - words[side], True
    return slice(first, last + 1)


def _passage(page: Page, pieces: list[_Piece]) -> str:
    parts = []
    for number, group in groupby(pieces, key=lambda piece: piece.section):
        heading, text = page.sections[number]
        of_section = list(group)
        if heading:
            parts.append(f"## {heading}")
        parts.append(text[of_section[0].start : of_section[-1].end])
    return "\n\n".join(parts)


def _sections(text: str, start: int) -> Iterator[Section]:
    heading = ""
    for match in _HEADING.finditer(text, start):
        yield Section(heading, text[start : match.start()])
        heading, start = match[1], match.end()
    yield Section(heading, text[start:])


def _sentences(text: str) -> Iterator[_Sentence]:
    for paragraph in _PARAGRAPH.finditer(text):
        end = paragraph.end() - (len(paragraph[0]) - len(paragraph[0].rstrip()))
        start = paragraph.start()
        for stop in _SENTENCE_END.finditer(text, start, end):
            # Search from just before: else many abbreviations in a row would take quadratic time.
            if _ABBREVIATION.search(text, max(start, stop.start() - _LONGEST_ABBREVIATION), stop.end()):
                continue
            yield from _pieces(text, start, start + len(text[start : stop.end()].rstrip()))
            start = stop.end()
        *pieces, last = _pieces(text, start, end)
        yield from pieces
        # A colon introduces the next paragraph.
        yield _Sentence(last.start, last.end, last.words, may_close=not text.endswith(":", start, end))


def _pieces(text: str, start: int, end: int) -> Iterator[_Sentence]:
    """A sentence; one that is too long is split, at line ends if it has any."""
    words = _words(text[start:end])
    if words <= LONGEST:
        yield _Sentence(start, end, words)
        return
    words = 0
    for piece in _PIECE.finditer(text, start, end):
        words += _words(piece[0])
        if words >= MAX_WORDS or (words >= MIN_WORDS and "\n" in piece[0]) or piece.end() >= end:
            yield _Sentence(start, start + len(text[start : piece.end()].rstrip()), words)
            start, words = piece.end(), 0


def _words(text: str) -> int:
    """Number of words: by spaces; two characters of a script without spaces count as one; at least one per 20."""
    return max(len(text.split()), len(text) // 20, len(_UNSPACED.findall(text)) // 2)


def _packed(sentences: list[_Sentence]) -> Iterator[tuple[int, int]]:
    """(start, end) of each chunk of one section."""
    groups: list[list[_Sentence]] = [[]]
    for sentence in sentences:
        words = sum(one.words for one in groups[-1])
        if groups[-1] and (words + sentence.words > MAX_WORDS or (words >= MIN_WORDS and groups[-1][-1].may_close)):
            groups.append([])
        groups[-1].append(sentence)
    if len(groups) > 1 and sum(one.words for one in groups[-1]) < TAIL_WORDS:
        groups[-2:] = [groups[-2] + groups[-1]]
    return ((group[0].start, group[-1].end) for group in groups if group)
