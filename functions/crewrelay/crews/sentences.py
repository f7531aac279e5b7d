"""Ranks the sentences of passages for a query: overlap weighted by rarity, then diversity (MMR).

Carbonell and Goldstein, "The use of MMR, diversity-based reranking", SIGIR 1998.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])")
_WORD = re.compile(r"[^\W_]{2,}")
_MARKUP = re.compile(r"^[#>*\-\s=]+|[#*=_]{2,}")
_CITATION = re.compile(r"\[\d[\d\s,;–-]*\]")  # a quotation must not bring citations of its own
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
_ENOUGH, _AS_GOOD = 0.4, 0.34  # of the query's words; of the best passage's share of them
_SHORTEST, _LONGEST = 5, 60  # words of a sentence worth quoting


class Sentence(NamedTuple):
    """A sentence, and the number of the passage that it stands in."""

    text: str
    number: int


def terms(text: str) -> frozenset[str]:
    """Words that carry meaning, folded to lower case and the singular (crudely)."""
    words = (word.lower() for word in _WORD.findall(text))
    return frozenset(word.rstrip("s") if len(word) > 3 else word for word in words if word not in _STOPWORDS)


def split(text: str) -> list[str]:
    """The quotable sentences of a passage: no headings, no list markers, no code."""
    paragraphs = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    sentences = (sentence.strip() for block in paragraphs for sentence in _SENTENCE_END.split(block))
    return [s for s in sentences if _SHORTEST <= len(s.split()) <= _LONGEST and s[-1:] in ".!?" and _prose(s)]


def without_citations(text: str) -> str:
    return " ".join(_CITATION.sub(" ", text).split())


def _prose(sentence: str) -> bool:
    return not (_MARKUP.search(sentence) or _CITATION.search(sentence)) and sum(
        c.isalpha() or c == " " for c in sentence
    ) >= 0.8 * len(sentence)


def rank(query: str, language: str, passages: Sequence[tuple[int, str]], limit: int) -> list[Sentence]:
    """The best sentences, best first, none if no passage is on the topic. Passages come best first.

    `language` is the asker's. Where the passages are in another one, no word of the query need stand in them, and
    their order alone decides.
    """
    asked = terms(query)
    kept: Sequence[tuple[int, str]] = _on_topic(asked, passages)
    if not kept and not _written_in(language, passages):
        kept = passages[:3]
    candidates = [
        (Sentence(text, number), terms(text), place, position)
        for place, (number, passage) in enumerate(kept)
        for position, text in enumerate(split(passage))
    ]
    overlaps = _overlaps(asked, [words for _, words, _, _ in candidates])
    most = max(overlaps, default=0.0) or 1.0
    scored = [
        (overlap / most + 0.5 / (1 + place) + 0.2 / (1 + position), sentence, words)
        for (sentence, words, place, position), overlap in zip(candidates, overlaps, strict=True)
    ]
    return _diverse(scored, limit)


def _on_topic(asked: frozenset[str], passages: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those passages that hold a good part of what the best one holds of the query, if that is enough of it."""
    held = [terms(text) for _, text in passages]
    if max((len(asked & words) for words in held), default=0) < _ENOUGH * max(1, len(asked)):
        return []
    overlaps = _overlaps(asked, held)
    return [one for one, overlap in zip(passages, overlaps, strict=True) if overlap >= _AS_GOOD * max(overlaps)]


def _overlaps(asked: frozenset[str], texts: Sequence[frozenset[str]]) -> list[float]:
    """How much of the query each text holds, rare words counting more. fsum: the order of a set is not fixed."""
    counts = Counter(word for words in texts for word in words)
    return [math.fsum(math.log(1 + len(texts) / counts[word]) for word in asked & words) for words in texts]


def _written_in(language: str, passages: Sequence[tuple[int, str]]) -> bool:
    """Whether the passages are in this language, by its small words; a language without a list is another one."""
    words = Counter(word.lower() for _, text in passages for word in _WORD.findall(text))
    counts = {tag: sum(words[word] for word in small) for tag, small in _SMALL_WORDS.items()}
    tag = language.split("-")[0].lower()
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
