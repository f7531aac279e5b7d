"""How pages are cut into passages: overlap, scripts without spaces, and what has no sentences."""

import pytest

from crewrelay.retrieval.chunks import LONGEST, OVERLAP_WORDS, Chunk, Page, Section, chunks_of


def words(count: int, word: str = "word") -> str:
    """One sentence."""
    return word.capitalize() + f" {word}" * (count - 1) + "."


def cut(text: str, overlap: int = OVERLAP_WORDS) -> list[Chunk]:
    return chunks_of("a", Page("Title", "url", [Section("Heading", text)]), overlap)


def test_the_sentence_before_a_cut_in_a_paragraph_stands_in_both_passages() -> None:
    texts = [chunk.text for chunk in cut(f"{words(130)} {words(20, 'twice')} {words(80)}")]
    assert texts == [f"{words(130)} {words(20, 'twice')}", f"{words(20, 'twice')} {words(80)}"]


@pytest.mark.parametrize(
    "text",
    [
        f"{words(130)}\n\n{words(80)}",  # no paragraph is cut
        f"{words(100)} {words(OVERLAP_WORDS + 1)} {words(80)}",  # the sentence is long
    ],
)
def test_other_cuts_repeat_nothing(text: str) -> None:
    assert " ".join(chunk.text for chunk in cut(text)) == text.replace("\n\n", " ")


def test_overlap_changes_no_id() -> None:
    text = " ".join(words(30, f"word{letter}") for letter in "abcdefghijk")
    assert [chunk.id for chunk in cut(text)] == [chunk.id for chunk in cut(text, overlap=0)]


def test_passages_know_title_source_and_heading() -> None:
    (chunk,) = cut("One sentence.")
    assert chunk == Chunk("a#1", "Title", "url", "Heading", "One sentence.")


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
    passages = [chunk.text for chunk in cut(text)]
    assert len(passages) > 5
    assert all(passage in text for passage in passages)
    assert max(len(passage) for passage in passages) <= 20 * LONGEST
    assert max(len(passage.split()) for passage in passages) <= LONGEST + OVERLAP_WORDS
    if "一" in text or "这" in text:
        assert max(len(passage) for passage in passages) <= 3 * LONGEST
    assert "".join("".join(passages).split()).startswith("".join(text.split())[:100])


def test_a_table_is_cut_at_the_ends_of_its_lines() -> None:
    rows = [f"row {number} of a table" for number in range(100)]
    lines = [line for chunk in cut("\n".join(rows)) for line in chunk.text.splitlines()]
    assert lines == rows
