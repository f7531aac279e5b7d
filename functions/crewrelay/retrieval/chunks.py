"""Corpus files cut into passages of whole sentences, each a verbatim piece of its file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# In words. A passage closes at the first paragraph end past MIN, before the sentence that would take it past MAX, and
# a section's remainder under TAIL joins the passage before it. A sentence up to OVERLAP after which a paragraph is cut
# stands in both passages.
MIN_WORDS, MAX_WORDS, TAIL_WORDS, OVERLAP_WORDS = 90, 160, 40, 40
LONGEST = MAX_WORDS + TAIL_WORDS  # a longer sentence is none: a table, a list, a listing

_HEADER = re.compile(r"\ATitle: (?P<title>.+)\nSource: (?P<url>.+)\n")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\S[^\n]*(?:\n[^\n]+)*")
_SENTENCE_END = re.compile(r"[.!?]['\")\]’”]*\s+(?=['\"(\[‘“]*[^\W_a-z])|[。！？]+\s*(?=\S)")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|Dr|Mr|Mrs|Ms|St|Fig|No)|\b[A-Z])\.\s+\Z")
_PIECE = re.compile(r"\S{1,200}\s*")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


class CorpusError(ValueError):
    """A corpus file that can't be read as one."""


class Section(NamedTuple):
    """`heading` is "" before the first."""

    heading: str
    text: str


class Page(NamedTuple):
    """What a file says, before it is cut into passages."""

    title: str
    url: str
    sections: list[Section]


@dataclass(frozen=True)
class Chunk:
    """A passage before it is searched for: `text` is verbatim, `heading` that of its section."""

    id: str
    title: str
    url: str
    heading: str
    text: str

    @property
    def indexed_text(self) -> str:
        """What is embedded and searched: a passage seldom repeats what its title and heading say."""
        return f"{self.title}. {self.heading}\n{self.text}" if self.heading else f"{self.title}\n{self.text}"


@dataclass(frozen=True)
class _Sentence:
    start: int
    end: int
    words: int
    may_close: bool = False


def corpus_chunks(corpus: Path) -> list[Chunk]:
    """Every passage of the `*.txt` files under a folder, in the order of their paths; `sqlite/wal.txt` gives the ids
    `sqlite/wal#1`, `sqlite/wal#2` …

    Raises CorpusError if there is no such file or one has no `Title:` and `Source:` lines at its top.
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
    """The passages of one page of a corpus."""
    page = titled_page(text)
    if page is None:
        raise CorpusError(f"{name}: must begin with a line 'Title: …' and a line 'Source: …'")
    return chunks_of(name, page)


def titled_page(text: str) -> Page | None:
    """A text that begins with `Title:` and `Source:`, its sections under `#` headings; None if it doesn't."""
    header = _HEADER.match(text)
    return header and Page(header["title"], header["url"], list(_sections(text, header.end())))


def chunks_of(name: str, page: Page, overlap: int = 0) -> list[Chunk]:
    """The passages of one page, with the ids `name#1`, `name#2` … None crosses a heading, and none cuts a sentence."""
    texts = (
        (section.heading, section.text[start:end])
        for section in page.sections
        for start, end in _packed(list(_sentences(section.text)), overlap)
    )
    return [
        Chunk(f"{name}#{number}", page.title, page.url, heading, text)
        for number, (heading, text) in enumerate(texts, start=1)
    ]


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
            if _ABBREVIATION.search(text, start, stop.end()):
                continue
            yield from _pieces(text, start, start + len(text[start : stop.end()].rstrip()))
            start = stop.end()
        *pieces, last = _pieces(text, start, end)
        yield from pieces
        # A colon announces the next paragraph.
        yield _Sentence(last.start, last.end, last.words, may_close=not text.endswith(":", start, end))


def _pieces(text: str, start: int, end: int) -> Iterator[_Sentence]:
    """A sentence; what is too long to be one is cut, at the ends of lines if it has any."""
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
    """Those between spaces; where a script has none, two characters count as a word, and so do twenty without one."""
    return max(len(text.split()), len(text) // 20, len(_UNSPACED.findall(text)) // 2)


def _packed(sentences: list[_Sentence], overlap: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each passage of one section."""
    groups: list[list[_Sentence]] = [[]]
    for sentence in sentences:
        words = sum(one.words for one in groups[-1])
        if groups[-1] and (words + sentence.words > MAX_WORDS or (words >= MIN_WORDS and groups[-1][-1].may_close)):
            groups.append([])
        groups[-1].append(sentence)
    if len(groups) > 1 and sum(one.words for one in groups[-1]) < TAIL_WORDS:
        groups[-2:] = [groups[-2] + groups[-1]]
    before: _Sentence | None = None
    for group in filter(None, groups):
        again = before if before and before.words <= overlap and not before.may_close else group[0]
        yield again.start, group[-1].end
        before = group[-1]
