"""When passages answer a question, and when they don't."""

import pytest

from crewrelay.crews.keyless.question import Question
from crewrelay.crews.keyless.relevance import ACROSS_LANGUAGES, CUTS, relevant
from crewrelay.crews.passages.search import Read

LEASE = "A lease is a claim on a job that ends at a time. Whoever holds the lease of a job may write its result."
BAIL = "Le bail d'un travail finit à une certaine heure."


def read(text: str, similarity: float | None, number: int = 1, excerpt: str = "") -> Read:
    start = text.index(excerpt)
    return Read(number, "A title", text, (start, start + len(excerpt or text)), similarity)


def answers(topic: str, language: str, *passages: Read) -> bool:
    return bool(relevant(Question(topic, language), passages))


@pytest.mark.parametrize(
    ("case", "language", "topic", "text"),
    [
        ("en", "en", "Wer?", LEASE),
        ("es", "es", "Wer?", "El arrendamiento de un trabajo es de quien lo tiene, y de los que lo renuevan."),
        ("de", "de", "Who?", "Die Lease eines Auftrags gehört dem, der sie hat, und wird von ihm erneuert."),
        (ACROSS_LANGUAGES, "es", "Wer?", LEASE),
        (ACROSS_LANGUAGES, "fr", "Wer?", BAIL),
    ],
)
def test_each_case_has_its_cut(case: str, language: str, topic: str, text: str) -> None:
    """Of questions that share no word with the passage and name nothing."""
    least = CUTS[case].least
    assert answers(topic, language, read(text, least + 0.001))
    assert not answers(topic, language, read(text, least - 0.001))


@pytest.mark.parametrize(("name", "present"), [("Pinecone", False), ("Leases", True), ("Leasehold9", True)])
def test_a_name_that_no_passage_has_makes_the_cut_higher(name: str, present: bool) -> None:
    """One that is inflected, or written in another way, is present."""
    topic = f"Which of them is {name} of?"
    at = (CUTS["en"].least + CUTS["en"].without_the_name) / 2
    assert answers(topic, "en", read(LEASE, at)) is present
    assert answers(topic, "en", read(LEASE, CUTS["en"].without_the_name))


def test_words_of_the_question_near_the_excerpt_count() -> None:
    below = CUTS["en"].least - 0.03
    assert answers("Who holds the lease of a job?", "en", read(LEASE, below))
    far = LEASE + " It is so." * 40 + " The end."
    assert not answers("Who holds the lease of a job?", "en", read(far, below, excerpt="The end."))


def test_words_alone_do_not_make_an_answer_of_passages_that_are_far_off() -> None:
    assert not answers("What is a lease?", "en", read(LEASE, 0.7))
    assert answers("What is a lease?", "en", read(LEASE, None))  # on a scale that nobody knows, words decide
    assert not answers("Where do penguins live?", "en", read(LEASE, None))


def test_words_of_another_language_decide_nothing() -> None:
    assert answers("¿Dónde viven los pingüinos?", "es", read(LEASE, None))


def test_with_words_only_a_passage_far_behind_the_best_one_is_not_quoted() -> None:
    ship = read("The tax on a ship is paid each year by the one who owns it.", None, 2)
    assert relevant(Question("the lease of a job", "en"), [read(LEASE, None), ship]) == [read(LEASE, None)]


def test_no_passages_answer_nothing() -> None:
    assert not answers("What is a lease?", "en")
