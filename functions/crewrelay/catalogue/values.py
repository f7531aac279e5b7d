"""What an input of several lines, a list or an object may hold: JSON, within limits."""

import math
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, JsonValue

LONGEST_PROSE = 50_000  # characters of a text that may have several lines
MOST_ITEMS = 1000  # of a list
MOST_NAMES = 200  # of an object
DEEPEST = 10  # lists and objects in each other

_FORBIDDEN = ("Cc", "Cs")
_LAYOUT = "\n\r\t"


def prose(text: str) -> str:
    """The text. Raises ValueError if it has control characters other than line ends and tabs."""
    for character in text:
        if unicodedata.category(character) in _FORBIDDEN and character not in _LAYOUT:
            raise ValueError(f"must not contain control characters, but has U+{ord(character):04X}")
    return text


def within_limits(value: Any, depth: int = 0) -> Any:
    """The value. Raises ValueError if it is too deep, too long, or no JSON."""
    match value:
        case str() if len(value) > LONGEST_PROSE:
            raise ValueError(f"a text must not be longer than {LONGEST_PROSE:,} characters")
        case str():
            prose(value)
        case float() if not math.isfinite(value):
            raise ValueError("a number must be finite")
        case list() | dict() if depth == DEEPEST:
            raise ValueError(f"lists and objects must not be deeper than {DEEPEST}")
        case list():
            if len(value) > MOST_ITEMS:
                raise ValueError(f"a list must not have more than {MOST_ITEMS:,} items")
            for item in value:
                within_limits(item, depth + 1)
        case dict():
            if len(value) > MOST_NAMES:
                raise ValueError(f"an object must not have more than {MOST_NAMES} names")
            for name, item in value.items():
                within_limits(name)
                within_limits(item, depth + 1)
    return value


Bounded = Annotated[JsonValue, AfterValidator(within_limits)]
