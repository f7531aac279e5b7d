"""BM25 over 4-grams: the arrays give what the formula says."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from crewrelay.retrieval.embedded.keywords import _LITTLE, KeywordIndex
from crewrelay.retrieval.words import content, grams, plain


def occurrences(text: str) -> Counter[str]:
    letters = plain(text)
    every = (letters[start : start + 4] for start in range(len(letters) - 3))
    return Counter(gram for gram in every if " " not in gram[1:-1])


def by_the_formula(texts: list[str], query: str) -> list[float]:
    held = [occurrences(text) for text in texts]
    average = sum(map(Counter.total, held)) / len(texts)
    found = Counter(gram for one in held for gram in one)
    wanted = grams(content(query))
    rarity = {gram: math.log(1 + (len(texts) - found[gram] + 0.5) / (found[gram] + 0.5)) for gram in wanted}
    whole = sum(rarity.values()) + _LITTLE
    return [
        sum(rarity[gram] * one[gram] / (one[gram] + 1.2 * (0.25 + 0.75 * one.total() / average)) for gram in wanted)
        / whole
        for one in held
    ]


WORDS = (
    "lease fence Jobs job's Straße strasse überfällig café CAFÉ 2018 sqlite3_exec x a ist 日本語のテキスト 😀".split()
)


def test_it_scores_as_the_formula_does() -> None:
    drawn = random.Random(1)
    texts = [" ".join(drawn.choices(WORDS, k=drawn.randint(0, 30))) for _ in range(50)]
    index = KeywordIndex(texts)
    for query in (*WORDS, "the lease of a job", " ".join(WORDS), "nothing known", "", "?", "of the"):
        assert index.scores(query) == pytest.approx(by_the_formula(texts, query), abs=1e-6)


def test_an_inflected_word_and_a_part_of_a_compound_are_found() -> None:
    index = KeywordIndex(["Die Wahlen im Bundestag.", "Der Hund bellt."])
    for query in ("Bundestagswahl", "wählen", "BUNDESTAGE"):
        scores = index.scores(query)
        assert scores[0] > scores[1]


def test_no_gram_spans_two_texts_or_two_words() -> None:
    assert not KeywordIndex(["ab", "cd", "ab cd"]).scores("abcd").any()


def test_no_texts_score_nothing() -> None:
    assert KeywordIndex([]).scores("lease").shape == (0,)
    assert not KeywordIndex(["", "…"]).scores("lease").any()


def test_a_query_of_stop_words_says_little() -> None:
    """They are looked for if there is nothing else, and weigh little."""
    index = KeywordIndex([f"When should I not use it, of number {number}?" for number in range(50)])
    assert np.max(index.scores("when should I not?")) < 0.1
