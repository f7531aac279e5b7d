"""The words of texts, and their character 4-grams, which match inflected words and compounds in any language."""

import re
import unicodedata

SIZE = 4  # characters of a 4-gram
_ACCENTS = re.compile(r"[\u0300-\u036f]")
_BETWEEN_WORDS = re.compile(r"[\W_]+")
# Of each language, as plain text.
SMALL_WORDS = {
    tag: frozenset(words.split())
    for tag, words in {
        "en": "a an and are as at be by can could did do does for from had has have how i if in is it its may my no "
        "not of on or should so than that the their there they this to was were what when where which who why "
        "will with would you your",
        "de": "als am auf auch aus bei das dem den der des die ein eine einem einen einer eines er es fur hat ich "
        "im in ist kein keine man mit nicht sich sie sind soll sollte um und von wann warum was welche "
        "welchem welchen welcher welches wer werden wie wird wo wurde zu zum zur",
        "es": "a al con cual cuales cuando como cuanto cuantos cuantas de debo debe deberia del donde el en entre "
        "es esta fue ha la las le lo los mas me mi no o para pero por que quien quienes se ser si sin sobre "
        "son su sus un una unas uno unos y ya",
    }.items()
}
_STOP_WORDS = frozenset().union(*SMALL_WORDS.values())


def plain(text: str) -> str:
    """The words in lower case and without accents, with a space on both sides of each."""
    letters = text.casefold() if text.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return f" {_BETWEEN_WORDS.sub(' ', letters).strip()} "


def content(text: str) -> str:
    """The plain text without stop words; all of it if there is nothing else."""
    rest = " ".join(word for word in plain(text).split() if word not in _STOP_WORDS)
    return f" {rest} " if rest else plain(text)


def grams(text: str) -> frozenset[str]:
    """The 4-grams of the plain text that are of one word each."""
    letters = plain(text)
    every = (letters[start : start + SIZE] for start in range(len(letters) - SIZE + 1))
    return frozenset(gram for gram in every if " " not in gram[1:-1])
