"""What a topic asks for: its words that matter, the names in it, and whether it wants a definition or a number."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from crewrelay.crews.keyless.phrases import primary
from crewrelay.retrieval.words import SMALL_WORDS, content, grams, plain

# All on plain text.
_DEFINITION = re.compile(
    r"\A (?:what (?:is|are|was|were)|define|was (?:ist|sind|war|waren|bedeutet)|que (?:es|son|fue|fueron|significa)"
    r"|qu est ce qu\w*|che cos e|cosa sono|o que (?:e|sao)|wat (?:is|zijn))"
    r"(?: (?:a|an|the|ein|eine|der|die|das|un|una|el|la|los|las|une|le|les|um|uma|o|het|een))?"
    r"(?P<what>(?: \w++){1,3}) \Z"
)
_NO_ADJECTIVES = (  # after "how"
    "do|did|does|can|could|should|would|will|may|might|must|to|is|are|was|were|has|have|had|i|you|we|the|a|so|come|about"
)
_NUMBER = re.compile(
    rf" (?:how (?!(?:{_NO_ADJECTIVES}) )\w+|wh(?:at|ich) (?:year|version|release|size|percentage|share)"
    r"|when (?!should|do |can|must|may|to|is|not)"
    r"|wie (?:viel|lang|gross|hoch|alt|oft|weit|tief|schnell|breit|schwer|stark|haufig|teuer|klein)"
    r"|wann (?!soll|kann|muss|darf|ist|nehm)|welche\w? (?:jahr|version|grosse|prozent)"
    r"|cuant|cuando (?!deb|conviene|puedo|hay|es|no)"
    r"|que (?:ano|version|altura|edad|temperatura|tamano|porcentaje|profundidad))"
)
_NAME = re.compile(r"\w[\w.+#]*\w")
_OPENING, _SENTENCE_ENDS = " \t\n\xa0\u202f\"'«„“(", ".?!:¿¡"
_CAPITALS_ARE_NAMES = frozenset({"en", "es"})


@dataclass(frozen=True)
class Question:
    """A topic and the language it is in."""

    text: str
    language: str

    @cached_property
    def grams(self) -> frozenset[str]:
        """Without those of stop words."""
        return grams(content(self.text))

    @property
    def asks(self) -> bool:
        """Whether it is a question; otherwise it names a subject, on which an overview is wanted."""
        return "?" in self.text

    @cached_property
    def defined(self) -> str | None:
        """What it wants a definition of."""
        match = _DEFINITION.search(plain(self.text))
        if match:
            return match["what"]
        return None if self.asks else self.text

    @cached_property
    def wants_a_number(self) -> bool:
        return _NUMBER.search(plain(self.text)) is not None

    @cached_property
    def names(self) -> list[str]:
        """Words with a digit or an inner capital; and within a sentence capitalised ones, unless all nouns are."""
        nouns_are_capitalised = primary(self.language) not in _CAPITALS_ARE_NAMES
        names, end = [], 0
        for word in _NAME.finditer(self.text):
            gap = self.text[end : word.start()]
            before = gap.rstrip(_OPENING)
            within = before != gap and (before[-1] not in _SENTENCE_ENDS if before else end > 0)
            if any(c.isdigit() or c.isupper() for c in word[0][1:]) or (
                word[0][0].isupper() and not nouns_are_capitalised and within
            ):
                names.append(word[0])
            end = word.end()
        return names

    def is_in_the_language_of(self, text: str) -> bool:
        """By the stop words of the text; False if there is no list of them for this language."""
        words = Counter(plain(text).split())
        counts = {tag: sum(words[word] for word in small) for tag, small in SMALL_WORDS.items()}
        tag = primary(self.language)
        return tag in counts and counts[tag] == max(counts.values())
