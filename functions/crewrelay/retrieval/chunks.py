"""Corpus files cut into passages of whole sentences, each a verbatim piece of its file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# In words. A passage closes at the first paragraph end past MIN, before the sentence that would take it past MAX, and
# a section's remainder under TAIL joins the passage before it.
MIN_WORDS, MAX_WORDS, TAIL_WORDS = 90, 160, 40

_HEADER = re.compile(r"\ATitle: (?P<title>.+)\nSource: (?P<url>.+)\n")
_HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\S[^\n]*(?:\n[^\n]+)*")
_SENTENCE_END = re.compile(r"[.!?]['\")\]’”]*\s+(?=['\"(\[‘“]*[^\W_a-z])|[。！？]+\s*(?=\S)")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|Dr|Mr|Mrs|Ms|St|Fig|No)|\b[A-Z])\.\s+\Z")


class CorpusError(ValueError):
    """A corpus file that can't be read as one."""


@dataclass(frozen=True)
class Chunk:
    """A passage before it is searched for: `text` is verbatim, `heading` that of its section ("" before the first)."""

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
    may_close: bool


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


def page_chunks(page: str, text: str) -> list[Chunk]:
    """The passages of one page. None crosses a heading, and none cuts a sentence."""
    header = _HEADER.match(text)
    if header is None:
        raise CorpusError(f"{page}: must begin with a line 'Title: …' and a line 'Source: …'")
    spans = [
        (heading, start, end)
        for heading, first, last in _sections(text, header.end())
        for start, end in _packed(list(_sentences(text, first, last)))
    ]
    return [
        Chunk(f"{page}#{number}", header["title"], header["url"], heading, text[start:end])
        for number, (heading, start, end) in enumerate(spans, start=1)
    ]


def _sections(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """(heading, start, end) of each section's body."""
    heading = ""
    for match in _HEADING.finditer(text, start):
        yield heading, start, match.start()
        heading, start = match[1], match.end()
    yield heading, start, len(text)


def _sentences(text: str, first: int, last: int) -> Iterator[_Sentence]:
    for paragraph in _PARAGRAPH.finditer(text, first, last):
        end = paragraph.end() - (len(paragraph[0]) - len(paragraph[0].rstrip()))
        start = paragraph.start()
        for stop in _SENTENCE_END.finditer(text, start, end):
            if _ABBREVIATION.search(text, start, stop.end()):
                continue
            sentence = text[start : stop.end()].rstrip()
            yield _Sentence(start, start + len(sentence), len(sentence.split()), may_close=False)
            start = stop.end()
        # A colon announces the next paragraph.
        yield _Sentence(start, end, len(text[start:end].split()), may_close=not text.endswith(":", start, end))


def _packed(sentences: list[_Sentence]) -> list[tuple[int, int]]:
    """(start, end) of each passage of one section."""
    groups: list[list[_Sentence]] = [[]]
    for sentence in sentences:
        words = sum(one.words for one in groups[-1])
        if groups[-1] and (words + sentence.words > MAX_WORDS or (words >= MIN_WORDS and groups[-1][-1].may_close)):
            groups.append([])
        groups[-1].append(sentence)
    if len(groups) > 1 and sum(one.words for one in groups[-1]) < TAIL_WORDS:
        groups[-2:] = [groups[-2] + groups[-1]]
    return [(group[0].start, group[-1].end) for group in groups if group]
