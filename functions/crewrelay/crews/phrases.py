"""What the built-in crew says in its own name, by language; and how a crew says that it found no answer."""

import re
from typing import NamedTuple

# The same in every language, so that "no" is not guessed from prose. The crew's texts tell the model to write it.
NOT_ANSWERABLE = "NOT ANSWERABLE"
_DECLINES = re.compile(r"\W*NOT[ _-]ANSWERABLE\b[\s*_`:.!\"'–—-]*")


class Phrases(NamedTuple):
    heading: str  # with {topic}
    refusal: str
    quoted: str


_PHRASES = {
    "en": Phrases(
        "What the sources say about “{topic}”",
        "The sources do not answer this.",
        "Quoted word for word, in the language of the sources.",
    ),
    "de": Phrases(
        "Was die Quellen zu „{topic}“ sagen",
        "Die Quellen beantworten das nicht.",
        "Wörtlich zitiert, in der Sprache der Quellen.",
    ),
    "es": Phrases(
        "Lo que dicen las fuentes sobre «{topic}»",
        "Las fuentes no responden a esto.",
        "Citado literalmente, en el idioma de las fuentes.",
    ),
}
_OTHERWISE = "en"


def phrases(language: str) -> Phrases:
    """Those of a BCP 47 tag's language, the English ones if it has none."""
    return _PHRASES.get(primary(language), _PHRASES[_OTHERWISE])


def are_in(language: str) -> bool:
    return primary(language) in _PHRASES


def primary(language: str) -> str:
    """The language of a BCP 47 tag: pt of pt-BR."""
    return language.split("-")[0].lower()


def refusal(text: str, language: str) -> str | None:
    """What a crew's output says to the reader if it begins with NOT ANSWERABLE; None if it is an answer."""
    mark = _DECLINES.match(text)
    if mark is None:
        return None
    return text[mark.end() :].strip() or phrases(language).refusal
