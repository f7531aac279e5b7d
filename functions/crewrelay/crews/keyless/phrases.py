"""Fixed texts of the extractive model, by language, and the mark by which a crew says that it found no answer."""

import re
from typing import NamedTuple

# The same in every language. The crew's prompts tell the model to begin a refusal with it.
NOT_ANSWERABLE = "NOT ANSWERABLE"
_DECLINES = re.compile(r"\W*NOT[ _-]ANSWERABLE\b[\s*_`:.!\"'–—-]*")


class Phrases(NamedTuple):
    refusal: str
    quoted: str


_PHRASES = {
    "en": Phrases(
        "The sources do not answer this.",
        "Quoted word for word, in the language of the sources.",
    ),
    "de": Phrases(
        "Die Quellen beantworten das nicht.",
        "Wörtlich zitiert, in der Sprache der Quellen.",
    ),
    "es": Phrases(
        "Las fuentes no responden a esto.",
        "Citado literalmente, en el idioma de las fuentes.",
    ),
}
_DEFAULT = "en"


def phrases(language: str) -> Phrases:
    """The texts in a BCP 47 tag's language, else in English."""
    return _PHRASES.get(primary(language), _PHRASES[_DEFAULT])


def are_in(language: str) -> bool:
    return primary(language) in _PHRASES


def primary(language: str) -> str:
    """The language of a BCP 47 tag: pt of pt-BR."""
    return language.split("-")[0].lower()


def refusal(text: str, language: str) -> str | None:
    """The rest of an output that begins with NOT ANSWERABLE, or a fixed text; None if the output is an answer."""
    mark = _DECLINES.match(text)
    if mark is None:
        return None
    return text[mark.end() :].strip() or phrases(language).refusal
