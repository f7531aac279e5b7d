"""Which sentences of the passages found a search tells of: those with the nearest vectors."""

import numpy as np

from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.embedded.sentences import MOST, SentenceSearch, rounded, sentences
from crewrelay.retrieval.passages import document_of

NEAR = np.array([1, 0], dtype=np.float32)


def chunk(id_: str, text: str, passage: str) -> Chunk:
    return Chunk(id_, "A title", "", "", text, passage)


def passage(chunk: Chunk) -> Passage:
    return Passage(id=chunk.id, title=chunk.title, url="", text=chunk.passage, excerpt=chunk.text)


def search(chunks: list[Chunk], *cosines: float) -> SentenceSearch:
    """Over their sentences, each at this cosine to NEAR."""
    assert len(sentences(chunks)) == len(cosines)
    return SentenceSearch(
        chunks, rounded(np.array([(cosine, (1 - cosine**2) ** 0.5) for cosine in cosines], np.float32))
    )


def told(found: Passage) -> list[tuple[str, float]]:
    return [(one.text, round(one.similarity, 2)) for one in found.sentences]


def test_the_nearest_sentences_are_told_of_the_first_passage_that_has_them() -> None:
    first, second = "It rains in\nUlm. It snows there, too.", "It is hot in Rome."
    chunks = [chunk("a#1", first, f"{first} {second}"), chunk("a#2", second, second), chunk("b#1", second, second)]
    found = search(chunks, 0.5, 0.9, 0.7, 0.8).told([passage(one) for one in chunks], NEAR)
    assert told(found[0]) == [("It snows there, too.", 0.9), ("It is hot in Rome.", 0.7), ("It rains in\nUlm.", 0.5)]
    assert [told(one) for one in found[1:]] == [[], [("It is hot in Rome.", 0.8)]]


def test_of_many_sentences_only_the_nearest_are_told() -> None:
    text = " ".join(f"This is number {number}." for number in range(MOST + 8))
    [found] = search([chunk("a#1", text, text)], *np.linspace(0, 0.9, MOST + 8)).told(
        [passage(chunk("a#1", text, text))], NEAR
    )
    assert [one.text for one in found.sentences] == [f"This is number {MOST + 7 - place}." for place in range(MOST)]


def test_passages_without_a_sentence_are_as_they_were() -> None:
    one = chunk("a#1", "no prose", "no prose")
    assert document_of(one.id) == "a"
    assert SentenceSearch([one], np.empty((0, 2), np.int8)).told([passage(one)], NEAR) == [passage(one)]
    assert SentenceSearch([one], np.empty((0, 2), np.int8)).told([], NEAR) == []
