"""The sentences of a text that can be quoted: whole ones of prose, no headings, questions, lists or code."""

import re

_BLOCK = re.compile(r"\S.*+(?:\n(?![^\S\n]*+\n).*+)*+")
_END = re.compile(r"[.!?…][\"'”’»“)\]]*+(?P<gap>\s++)(?=[\"'“„«‘(¿¡]*+[^\W_a-z])")
# Such a full stop ends no sentence. Also those of J. Smith, z. B., and am 1. Mai.
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|cf|vs|etc|approx|Dr|Mr|Mrs|Ms|St|Fig|Nr|bzw|ca|vgl|Sr|Sra|[^\W\d_]"
    r"|(?:am|bis|de[mnrs]|im|vom|zum) \d\d?)\.\Z"
)
_LONGEST_ABBREVIATION = 8
_CLOSED = re.compile(r"[.!?…][\"'”’»“)\]]*+\Z")
_MOST_CLOSING = 9  # characters
_MARKUP = re.compile(r"^[#>*\-\s=]+|[#*=_]{2,}")
_CITATION = re.compile(r"\[\d[\d\s,;–-]*\]")  # citations within a quoted sentence
_SHORTEST, _LONGEST = 3, 120  # words


def sentences_of(text: str) -> list[tuple[str, int, int]]:
    """With their starts and ends in the text; white space is collapsed."""
    found = []
    for block in _BLOCK.finditer(text):
        start = block.start()
        for end, next_start in (*_ends(text, *block.span()), (block.end(), block.end())):
            sentence = " ".join(text[start:end].split())
            if _SHORTEST <= len(sentence.split()) <= _LONGEST and _is_prose(sentence):
                found.append((sentence, start, end))
            start = next_start
    return found


def _ends(text: str, start: int, end: int) -> list[tuple[int, int]]:
    return [
        stop.span("gap")
        for stop in _END.finditer(text, start, end)
        # Searched from just before: else many abbreviations in a row would take quadratic time.
        if not _ABBREVIATION.search(text, max(start, stop.start() - _LONGEST_ABBREVIATION), stop.start() + 1)
    ]


def _is_prose(sentence: str) -> bool:
    return (
        not sentence.endswith("?")
        and _CLOSED.search(sentence, max(0, len(sentence) - _MOST_CLOSING)) is not None
        and not (_MARKUP.search(sentence) or _CITATION.search(sentence))
        and sum(c.isalnum() or c == " " for c in sentence) >= 0.8 * len(sentence)
    )
