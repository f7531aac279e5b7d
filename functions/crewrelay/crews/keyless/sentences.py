"""Chooses the sentences of passages that answer a question: the best one, and what supports it."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from crewrelay.crews.keyless.question import Question
from crewrelay.crews.keyless.relevance import relevant
from crewrelay.crews.passages.search import Part, Read
from crewrelay.retrieval.quotable import sentences_of
from crewrelay.retrieval.words import grams

# Added to a sentence's share of the question's 4-grams, where rare ones weigh more: for each unit of cosine that its
# passage is behind the most similar one, and its part of the passage behind the most similar part; for a place in the
# best passage's excerpt; for a number if one is asked for; for each time that it is longer than usual. Chosen as the
# cuts of relevance.py are.
_PASSAGE_BEHIND, _PART_BEHIND, _IN_EXCERPT, _NUMBER, _LONG, _USUAL = -9.0, -6.0, 0.15, 0.4, -0.06, 25
_BEHIND = -10.0  # for each unit of cosine that the sentence itself is behind the nearest one, where these are known
_SUPPORTS, _REPEATS = 0.8, 0.6  # a supporting sentence: at most as far behind the best; the most 4-grams it may repeat
_ANSWER, _OVERVIEW = 90, 200  # words of an answer to a question, and of one on a subject
_EACH = 4  # sentences of one passage in an overview
_A_NUMBER = re.compile(r"(?<![\w.])\d")  # begins a word: there is none in sqlite3
_BE = r"(?:is|are|was|were|ist|sind|war|waren|es|son|fue|fueron)"
_ARTICLE = r"(?:an?|the|eine?|der|die|das|una?|el|la|los|las)"
_DEFINES = re.compile(
    rf"\A(?:{_ARTICLE}\s)?(?P<subject>\S{{1,40}}(?:\s\S{{1,40}}){{0,4}}?)\s(?:{_BE}\s{_ARTICLE}|means|bezeichnet)\s",
    re.IGNORECASE,
)


class Sentence(NamedTuple):
    """A sentence and its passage's number."""

    text: str
    number: int


class _Candidate(NamedTuple):
    """`nearness` is the score, and how near the sentence itself is to the question."""

    sentence: Sentence
    grams: frozenset[str]
    score: float
    nearness: float
    defines: float


def choose(topic: str, language: str, passages: Sequence[Read]) -> list[Sentence]:
    """The sentence that answers best, then those that support it; none if the passages don't answer.

    `language` is the topic's. Passages come best first; in another language they need not contain a word of the topic.
    """
    question = Question(topic, language)
    candidates = _candidates(question, relevant(question, passages))
    if not candidates:
        return []
    by_words = sorted(candidates, key=lambda one: (-one.score, one.sentence))
    by_nearness = sorted(candidates, key=lambda one: (-one.nearness, one.sentence))
    first = max(by_nearness, key=lambda one: one.nearness + one.defines)
    # In turn: in a sum, what one of them finds is lost.
    support = _in_turn(
        [one for one in by_words if one.score >= by_words[0].score - _SUPPORTS],
        [one for one in by_nearness if one.nearness >= by_nearness[0].nearness - _SUPPORTS],
    )
    words, each = (_ANSWER, len(candidates)) if question.asks else (_OVERVIEW, _EACH)
    return [one.sentence for one in _fitting(first, support, words, each)]


def _candidates(question: Question, passages: Sequence[Read]) -> list[_Candidate]:
    quotable: dict[str, tuple[Read, int, int]] = {}
    for passage in passages:
        for text, start, end in sentences_of(passage.text):
            quotable.setdefault(text, (passage, start, end))  # of a sentence in several passages, the best one is cited
    parts = {text: grams(text) for text in quotable}
    counts = Counter(gram for held in parts.values() for gram in held)
    weights = {gram: math.log(1 + len(parts) / max(1, counts[gram])) for gram in question.grams}
    whole = math.fsum(weights.values()) or 1.0
    similarities = [part.similarity for passage in passages for part in passage.parts] or [0.0]
    most_similar, least_similar = max(similarities), min(similarities)
    near = [part.similarity for passage in passages for part in passage.sentences] or [0.0]

    def behind(passage: Read, start: int, end: int) -> float:
        return max(near) - max(
            (part.similarity for part in _overlapping(passage.sentences, start, end)), default=min(near)
        )

    def score(text: str, passage: Read, start: int, end: int) -> float:
        found = _overlapping(passage.parts, start, end)
        return (
            math.fsum(weights[gram] for gram in question.grams & parts[text]) / whole
            + _PASSAGE_BEHIND * (most_similar - (passage.similarity or 0.0))
            + _PART_BEHIND * (most_similar - max((part.similarity for part in found), default=least_similar))
            + _IN_EXCERPT * (passage is passages[0] and passage.parts[0] in found)
            + _NUMBER * (question.wants_a_number and _A_NUMBER.search(text) is not None)
            + _LONG * max(0.0, len(text.split()) / _USUAL - 1)
        )

    return [
        _Candidate(
            Sentence(text, passage.number),
            parts[text],
            (by_words := score(text, passage, start, end)),
            by_words + _BEHIND * behind(passage, start, end),
            _defines(text, question.defined, passage.title),
        )
        for text, (passage, start, end) in quotable.items()
    ]


def _overlapping(parts: Sequence[Part], start: int, end: int) -> list[Part]:
    return [part for part in parts if start < part.end and end > part.start]


def _in_turn(*orders: list[_Candidate]) -> list[_Candidate]:
    """The first of each, the second of each and so on; each one once."""
    return list(dict.fromkeys(one for each in zip_longest(*orders) for one in each if one))


def _defines(sentence: str, wanted: str | None, title: str) -> float:
    """How much its subject is what is wanted, or the passage's title, which may be in another language: from 0 to 1."""
    match = _DEFINES.match(sentence) if wanted else None
    if not match:
        return 0.0
    subject = grams(match["subject"])
    return max(_alike(subject, grams(wanted or "")), _alike(subject, grams(title)))


def _fitting(first: _Candidate, support: Sequence[_Candidate], words: int, each: int) -> list[_Candidate]:
    """The first one, and as much of its support as the words, and the sentences of each passage, allow."""
    chosen = [first]
    words -= len(first.sentence.text.split())
    for one in support:
        if one is first:
            continue
        length = len(one.sentence.text.split())
        of_it = sum(other.sentence.number == one.sentence.number for other in chosen)
        repeats = any(_alike(one.grams, other.grams) > _REPEATS for other in chosen)
        if length <= words and of_it < each and not repeats:
            chosen.append(one)
            words -= length
    return chosen


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)
