"""How pages are cut: into chunks that are searched, and the passages around them that are read."""

import time
from itertools import pairwise

import pytest

from crewrelay.jobs.records.answer import Excerpt, Passage
from crewrelay.retrieval.chunks import LONGEST, PASSAGE_WORDS, Chunk, Page, Section, chunks_of
from crewrelay.retrieval.passages import Found, distinct


def words(count: int, word: str = "word") -> str:
    """One sentence."""
    return word.capitalize() + f" {word}" * (count - 1) + "."


def cut(*texts: str) -> list[Chunk]:
    """A section each."""
    return chunks_of("a", Page("Title", "url", [Section(f"H{n}", text) for n, text in enumerate(texts, 1)]))


def test_chunks_know_title_source_and_heading() -> None:
    assert cut("One sentence.") == [Chunk("a#1", "Title", "url", "H1", "One sentence.", "## H1\n\nOne sentence.")]


def test_a_passage_reaches_as_far_on_both_sides_as_it_may() -> None:
    letters = "abcdefghijklmnopqrs"
    chunks = cut(" ".join(words(40, f"w{letter}") for letter in letters))
    assert [chunk.text for chunk in chunks] == [words(40, f"w{letter}") for letter in letters]
    middle = chunks[9].passage.removeprefix("## H1\n\n")
    assert middle == " ".join(words(40, f"w{letter}") for letter in letters[9 - 5 : 9 + 5])
    assert chunks[0].passage == "## H1\n\n" + " ".join(
        words(40, f"w{letter}") for letter in letters[:9]
    )  # and the heading
    assert all(chunk.text in chunk.passage for chunk in chunks)


def test_headings_count_among_a_passages_words() -> None:
    sections = [Section(words(50, "heading"), words(40)) for _ in range(30)]
    chunks = chunks_of("a", Page("Title", "url", sections))
    assert max(len(chunk.passage.split()) for chunk in chunks) <= PASSAGE_WORDS + len(sections)  # of "##"


def test_initials_in_a_row_are_cut_in_a_time_that_grows_with_their_number_only() -> None:
    begun = time.process_time()
    assert cut("Smith, J. A. B. C. Doe, " * 5_000)  # 120 KB, which took a minute
    assert time.process_time() - begun < 10


def test_a_passage_holds_other_sections_under_their_headings() -> None:
    chunks = cut(words(40, "one"), words(40, "two"), words(PASSAGE_WORDS, "three"))
    assert chunks[0].passage.startswith(f"## H1\n\n{words(40, 'one')}\n\n## H2\n\n{words(40, 'two')}\n\n## H3\n\nThree")
    assert chunks[0].passage.count("\n\n") == 5


def test_neighbours_overlap_so_that_no_sentence_stands_at_an_edge_only() -> None:
    chunks = cut(" ".join(words(40, f"w{number}") for number in range(30)))
    for before, after in pairwise(chunks):
        assert before.text in after.passage
        assert after.text in before.passage


def found(number: int, excerpt: str, text: str, document: str = "a") -> Found:
    return Found(f"{document}#{number}", "", "", text, excerpt, 0.0, number / 10)


def passage(one: Found, *also: Excerpt) -> Passage:
    return Passage(**one._asdict(), also_found=also)


def test_of_neighbours_the_best_is_shown() -> None:
    best, neighbour, beyond = (
        found(2, "two", "one two three"),
        found(3, "three", "two three four"),
        found(4, "four", ""),
    )
    namesake = found(3, "three", "three", "b")
    also = Excerpt(text="three", similarity=0.3)
    shown = [passage(best, also), passage(beyond), passage(namesake)]
    assert distinct([best, neighbour, beyond, namesake], 5) == shown
    assert distinct([best, neighbour, beyond, namesake], 2) == shown[:2]
    assert distinct([best, beyond, namesake, neighbour], 2) == shown[:2]  # also of those behind the last one shown
    assert distinct([best], 0) == []


@pytest.mark.parametrize(
    "text",
    [
        "一二三四五六七八九十" * 300,  # no spaces, no sentence
        "这是一个句子。" * 400,
        "x" * 50_000,
        " ".join(["word"] * 5_000),
        "\n".join(f"row {number} of a table" for number in range(500)),
    ],
    ids=["chinese", "chinese sentences", "one word", "no full stop", "table"],
)
def test_what_has_no_sentences_is_cut_all_the_same(text: str) -> None:
    chunks = cut(text)
    assert len(chunks) > 10
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())
    for longest, parts in ((LONGEST, [c.text for c in chunks]), (PASSAGE_WORDS, [c.passage for c in chunks])):
        assert max(len(part) for part in parts) <= 20 * longest + len("## H1\n\n")
        assert max(len(part.split()) for part in parts) <= longest + 2
        if "一" in text or "这" in text:
            assert max(len(part) for part in parts) <= 3 * longest


def test_a_table_is_cut_at_the_ends_of_its_lines() -> None:
    rows = [f"row {number} of a table" for number in range(100)]
    lines = [line for chunk in cut("\n".join(rows)) for line in chunk.text.splitlines()]
    assert lines == rows
