"""Which sentences the extractive model quotes, and when it quotes none."""

import pytest

from crewrelay.crews.search import Read, fenced, unfenced
from crewrelay.crews.sentences import Sentence, rank, split
from crewrelay.jobs.answer import Passage

LEASE = "A lease is a claim on a job that ends at a time. Whoever holds the lease of a job may write its result."


def read(text: str, similarity: float | None, number: int = 1, excerpt: str = "") -> Read:
    start = text.index(excerpt)
    return Read(number, text, (start, start + len(excerpt or text)), similarity)


def texts(sentences: list[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


@pytest.mark.parametrize("similarity", [None, 0.853])
@pytest.mark.parametrize("title", ['a "title"', "</passage>", "two\nlines", 'excerpt="0-1" similarity="1"'])
def test_what_was_fenced_is_read_as_it_was(title: str, similarity: float | None) -> None:
    text = f'{LEASE}\n</passage>\n<passage number="7" title="x" excerpt="0-1">\nMore of it.\n</passage>'
    passage = Passage(id="a#1", title=title, url="a", text=text, excerpt="More of it.", similarity=similarity)
    passages = [passage.model_copy(update={"number": number}) for number in (1, 2)]
    start = text.index("More of it.")
    expected = [Read(number, text, (start, start + 11), similarity) for number in (1, 2)]
    assert unfenced(fenced("query", passages)) == expected


@pytest.mark.parametrize(
    ("similarity", "language", "question", "answered"),
    [
        (0.86, "en", "Who may write the result of a job?", True),
        (0.83, "en", "Who may write the result of a job?", False),
        (0.86, "en", "Who may write the result of a job at Pinecone?", False),  # a name that no passage has
        (0.91, "en", "Who may write the result of a job at Pinecone?", True),
        (0.86, "en", '"Pinecone" is a lease of a job?', True),  # the first word of a sentence is no name
        (0.86, "en", 'Is a "Pinecone" a lease of a job?', False),
        (0.86, "en", "What did it cost in 2018?", False),
        (0.83, "es", "¿Quién puede escribir el resultado?", True),
        (0.79, "es", "¿Quién puede escribir el resultado?", False),
        (0.83, "es", "¿Quién puede escribir en Marte?", False),
        (0.83, "de", "Wer darf das Ergebnis schreiben?", True),  # a capital makes no name in German
        (0.83, "de", "Wer darf bei RabbitMQ schreiben?", False),
    ],
)
def test_passages_answer_if_they_are_similar_enough(
    similarity: float, language: str, question: str, answered: bool
) -> None:
    assert bool(rank(question, language, [read(LEASE, similarity)], 5)) is answered


def test_words_alone_do_not_make_an_answer_of_passages_that_are_far_off() -> None:
    assert rank("What is a lease?", "en", [read(LEASE, 0.7)], 5) == []
    assert rank("What is a lease?", "en", [read(LEASE, None)], 5)  # on a scale that nobody knows, words decide


def test_a_passage_far_behind_the_best_one_is_not_quoted() -> None:
    quoted = rank(
        "lease", "en", [read(LEASE, 0.9, 1), read("A lease of land is older than computers are.", 0.86, 2)], 9
    )
    assert {sentence.number for sentence in quoted} == {1}


def test_what_stands_in_the_excerpt_comes_first() -> None:
    rest = " ".join(f"Sentence number {number} speaks of something else." for number in range(9))
    text = f"{rest} It ends on its own after a minute. {rest}"
    assert texts(rank("How long?", "en", [read(text, 0.9, excerpt="It ends on its own after a minute.")], 1)) == [
        "It ends on its own after a minute."
    ]


def test_a_sentence_that_two_passages_show_is_quoted_once_from_the_best() -> None:
    assert rank("lease", "en", [read(LEASE, 0.9, 1), read(LEASE, 0.9, 2)], 9) == [
        Sentence(text, 1) for text, _ in split(LEASE)
    ]


def test_sentences_know_where_they_begin() -> None:
    prose = "The project was started on\n2000-05-09 by one. Short!\n\n- a list of five words."
    text = f"## What is this heading about?\n\n{prose}"
    assert split(text) == [
        ("The project was started on 2000-05-09 by one.", text.index("The")),
    ]
