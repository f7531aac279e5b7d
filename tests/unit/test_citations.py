"""An answer cites passages that were retrieved, numbered as they appear, and nothing else."""

import time

import pytest

from crewrelay.crews.passages.citations import Bibliography
from crewrelay.jobs.records.answer import Passage
from tests.support.fixtures import Figure


def passage(name: str) -> Passage:
    return Passage(
        id=name, title=f"Title of {name}", url=f"https://example.org/{name}", text=f"Text of {name}.", excerpt="Text"
    )


@pytest.fixture
def bibliography() -> Bibliography:
    """a=1, b=2, c=3."""
    known = Bibliography()
    known.number([passage("a"), passage("b"), passage("c")])
    return known


def test_passages_are_numbered_in_the_order_of_their_first_retrieval() -> None:
    bibliography = Bibliography()
    a, b, c = passage("a"), passage("b"), passage("c")
    assert [(one.number, one.id) for one in bibliography.number([b, a])] == [(1, "b"), (2, "a")]
    assert [(one.number, one.id) for one in bibliography.number([c, a])] == [(3, "c"), (2, "a")]
    assert bibliography.number([]) == []


def test_a_passage_that_is_found_again_is_as_near_as_it_is_to_the_new_question() -> None:
    bibliography = Bibliography()
    for similarity in (0.9, 0.7):
        (found,) = bibliography.number([passage("a").model_copy(update={"similarity": similarity})])
        assert (found.number, found.similarity) == (1, similarity)


def test_what_comes_with_a_number_keeps_it_and_new_ones_are_above() -> None:
    bibliography = Bibliography()
    journaled = passage("a").model_copy(update={"number": 7})
    assert [one.number for one in bibliography.number([journaled])] == [7]
    assert [one.number for one in bibliography.number([passage("b"), passage("a")])] == [8, 7]
    assert [source.id for source in bibliography.cite("So [7], not so [1].").sources] == ["a"]


@pytest.mark.parametrize(
    ("text", "cited", "names"),
    [
        ("One [1]. Two [2].", "One [1]. Two [2].", "ab"),
        ("Last first [3], then [1], again [3].", "Last first [1], then [2], again [1].", "ca"),
        ("Both [1, 3].", "Both [1][2].", "ac"),
        ("Both [3,1].", "Both [1][2].", "ca"),
        ("Both [2; 3].", "Both [1][2].", "bc"),
        ("Both [1][2].", "Both [1][2].", "ab"),
        ("A range [1-3].", "A range [1][2][3].", "abc"),
        ("A range [2–3], and one [1].", "A range [1][2], and one [3].", "bca"),
        ("More than there is [2-9].", "More than there is [1][2].", "bc"),
        ("Backwards [3-1].", "Backwards [1][2].", "ca"),
        ("A footnote [^2].", "A footnote [1].", "b"),
        ("Another habit 【2】, and 【3†source】.", "Another habit [1], and [2].", "bc"),
        ("A link [2](https://evil.example/x) of its own.", "A link [1] of its own.", "b"),
        ("In parentheses [2] (that is, here).", "In parentheses [1] (that is, here).", "b"),
        ("Both [3] [2].", "Both [1] [2].", "cb"),
        ("Invented [99].", "Invented.", ""),
        ("Zero [0].", "Zero.", ""),
        ("Half invented [2, 99].", "Half invented [1].", "b"),
        ("Invented [7][8], real [2].", "Invented, real [1].", "b"),
        ("No citation.", "No citation.", ""),
        ("", "", ""),
        ("[2] at the start.", "[1] at the start.", "b"),
        ("Glued[2].", "Glued[1].", "b"),
        ("Not numbers [a], [], [1.5], [see 1].", "Not numbers [a], [], [1.5], [see 1].", ""),
        ("Across\nlines [2]\n\nand on [1]\n", "Across\nlines [1]\n\nand on [2]\n", "ba"),
    ],
)
def test_citations_are_renumbered_as_they_appear(bibliography: Bibliography, text: str, cited: str, names: str) -> None:
    found, sources, _ = bibliography.cite(text)
    assert found == cited
    assert [(source.number, source.id) for source in sources] == list(enumerate(names, 1))


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("Real [2].", ()),
        ("Invented [99], real [1], invented [7] and again [99].", (99, 7)),
        ("Half a range [2-5].", (4, 5)),
        ("A span of years [1990-2020].", (1990, 2020)),
        ("Zero [0].", (0,)),
        ("`code[9]`", ()),
    ],
)
def test_numbers_that_no_passage_has_are_reported(
    bibliography: Bibliography, text: str, unknown: tuple[int, ...]
) -> None:
    assert bibliography.cite(text).unknown == unknown


def test_a_source_is_the_passage_word_for_word(bibliography: Bibliography) -> None:
    _, (source,), _ = bibliography.cite("Only this one [2].")
    expected = passage("b")
    assert (source.title, source.url, source.text) == (expected.title, expected.url, expected.text)


def test_without_passages_no_citation_survives() -> None:
    assert Bibliography().cite("Invented [1], and more [2].") == ("Invented, and more.", (), (1, 2))


@pytest.mark.parametrize(
    "code",
    ["`items[0]`", "`row[1]`", "```python\nprint(items[0], items[99])\n```"],
)
def test_an_index_in_code_is_no_citation(bibliography: Bibliography, code: str) -> None:
    text, sources, _ = bibliography.cite(f"The first is {code} as they say [3].")
    assert text == f"The first is {code} as they say [1]."
    assert [source.id for source in sources] == ["c"]


def test_citing_twice_gives_the_same(bibliography: Bibliography) -> None:
    assert bibliography.cite("Two [2], one [1].") == bibliography.cite("Two [2], one [1].")


def test_a_number_of_any_length_is_only_unknown(bibliography: Bibliography) -> None:
    assert bibliography.cite(f"Absurd [{'9' * 5000}].") == ("Absurd.", (), (999_999_999,))


def test_no_more_than_a_hundred_unknown_numbers_are_told(bibliography: Bibliography) -> None:
    text, _, unknown = bibliography.cite("".join(f"[{number}]" for number in range(4, 1000)))
    assert (text, unknown) == ("", tuple(range(4, 104)))


@pytest.mark.parametrize(
    "reply",
    ["[1" + " " * 60_000, "[1" + " " * 100_000, "【1†" * 16_000, "[1](a " * 20_000, "[1-20]" * 20_000],
    ids=["60,000 blanks", "100,000 blanks", "16,000 citations without an end", "20,000 links", "20,000 ranges"],
)
def test_no_reply_stalls_a_worker(bibliography: Bibliography, reply: str, figure: Figure) -> None:
    """The first three took 34, 168 and 14 seconds."""
    started = time.thread_time()
    bibliography.cite(reply)
    taken = time.thread_time() - started
    figure(f"{len(reply):,} characters of {reply[:6]!r}: {taken:.3f} s of CPU")
    assert taken < 2
