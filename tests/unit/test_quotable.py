"""Which sentences of a passage can be quoted."""

import pytest

from crewrelay.retrieval.quotable import sentences_of


def texts(passage: str) -> list[str]:
    return [text for text, *_ in sentences_of(passage)]


def test_sentences_know_where_they_are() -> None:
    prose = "The project was started on\n2000-05-09 by one. Short!\n\n- a list of five words."
    text = f"## What is this heading about?\n\n{prose}"
    start, end = text.index("The"), text.index(" Short")
    assert sentences_of(text) == [("The project was started on 2000-05-09 by one.", start, end)]


@pytest.mark.parametrize(
    "sentence",
    [
        'He called it "the end of the beginning."',
        "Er sagte: „Das geht nicht so.“",
        "Dijo que «esto no puede ser.»",
        "(Nearly all windows are made like this today.)",
        "It was small (the war had just begun.)",
        "¿Quién lo diría?, escribió entonces el autor.",
    ],
)
def test_a_sentence_ends_with_its_closing_marks(sentence: str) -> None:
    assert texts(f"Before it there is another. {sentence} ¿Y después? Ärger follows it at once.") == [
        "Before it there is another.",
        sentence,
        "Ärger follows it at once.",
    ]


@pytest.mark.parametrize("words", [3, 61, 120])
def test_a_long_sentence_is_quotable(words: int) -> None:
    sentence = "Word" + " word" * (words - 1) + "."
    assert texts(sentence) == [sentence]


@pytest.mark.parametrize("words", [2, 121])
def test_a_fragment_and_a_page_are_not(words: int) -> None:
    assert texts("Word" + " word" * (words - 1) + ".") == []


@pytest.mark.parametrize(
    "sentence",
    [
        "The treaty was made by J. Smith, e.g. The Hague is named in it.",
        "Der Kanal wurde am 15. August 1914 eröffnet.",
        "Das gilt z. B. Für alle Schiffe bis zum 3. Mai 1916.",
        "Se descubrió en el siglo I a. C. En la costa de Siria.",
    ],
)
def test_an_abbreviation_and_a_german_date_end_no_sentence(sentence: str) -> None:
    assert texts(f"{sentence} There is more of it.") == [sentence, "There is more of it."]


def test_a_number_ends_a_sentence() -> None:
    assert texts("If nothing is given, it defaults to 10. A group matches a document.") == [
        "If nothing is given, it defaults to 10.",
        "A group matches a document.",
    ]


@pytest.mark.parametrize("text", ["Is this a bug?", "See [2] for the rest of it.", "a = b; c = d; { e: f(g) }."])
def test_no_questions_citations_or_code(text: str) -> None:
    assert texts(text) == []
