"""Cleans text of models, documents and servers, so that it can be stored and shown in a terminal or page.

A lone surrogate can't be encoded. Control characters can move a terminal's cursor or fill its clipboard; other
characters reorder or hide text. HTML is left as it is: whoever puts it into a page escapes it.
"""

import json
import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BeforeValidator

_LINE_END = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f"  # C0 but for tab and line feed, delete, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reorder
    "\u00ad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"  # hide
)
_UNSEEN_IN_JSON = re.compile(f"{_UNSEEN.pattern}|[\u2028\u2029\ud800-\udfff]")
_UNSEEN_IN_NAME = re.compile(rf"{_LINE_END.pattern}|{_UNSEEN.pattern}|[\n\t]")
# No user name: https://bank.example@evil.example is not the site that it looks like.
_SITE = re.compile(r"https?://(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?(?=[/?#]|\Z)", re.IGNORECASE)
_SCHEME = re.compile(r"[^/?#]*:")  # before it, a relative address has no colon: RFC 3986, 4.2
# A quotation in HTML and a link in Markdown would end at these.
_ENCODED = str.maketrans({character: f"%{ord(character):02X}" for character in " \"'()<>[]^`{|}"})


def well_formed(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def shown(text: str) -> str:
    """The text without invisible characters; all line ends become line feeds."""
    if text.replace("\n", "").isprintable():  # nearly every text; nothing below is printable, nor is a lone surrogate
        return text
    return _UNSEEN.sub("", _LINE_END.sub("\n", well_formed(text)))


def json_of(value: Any, indent: int | None = None) -> str:
    """The value as JSON, with an escape for each character that `shown` would change: nothing is lost."""
    written = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSEEN_IN_JSON.sub(lambda match: json.dumps(match[0])[1:-1], written)


def ended(text: str) -> str:
    """The text as a sentence, which another one may follow."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def name(text: str) -> str:
    """The name with invisible characters percent-encoded, so that different names stay different."""
    return _UNSEEN_IN_NAME.sub(lambda match: quote(match[0]), well_formed(text))


def in_one_line(text: str) -> str:
    return " ".join(shown(text).split())


def link(text: str) -> str:
    """A relative, http or https URL, encoded for use in a page; "" for any other."""
    text = in_one_line(text)
    site = _SITE.match(text)
    if "\\" in text or (site is None and (_SCHEME.match(text) or text.startswith("//"))):
        return ""  # browsers read a backslash as a slash, and a name after two slashes as a site
    start = site.end() if site else 0
    return text[:start] + text[start:].translate(_ENCODED)


def _of(change: Callable[[str], str]) -> BeforeValidator:
    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    return BeforeValidator(changed)


Text = Annotated[str, _of(shown)]
Name = Annotated[str, _of(name)]
Line = Annotated[str, _of(in_one_line)]
Link = Annotated[str, _of(link)]
