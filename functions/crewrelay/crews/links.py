"""Takes the links off the citations of a text in Markdown or HTML: a citation leads to its source and nowhere else.

The text's citations are marked, MARK around their numbers; control characters, so no text brings any of its own. Each
pattern begins with a character that what follows it can't hold, so that none goes twice over the same text.
"""

import re

BEGIN, END = "\x02", "\x03"
MARK = rf"{BEGIN}\d*+{END}"
CODE = r"(?<![\\`])(?:```(?!`).*?(?<!`)```|`[^`\n]+`)(?!`)"

_ADDRESS = r"<[^<>\n]*+>|(?:[^\s()\\<]|\\.|\([^\s()]*+\))*+"
_TITLE = r"""\s++(?:"[^"]*+"|'[^']*+'|\([^()]*+\))"""
_TARGET = rf"\(\s*+(?:{_ADDRESS})(?:{_TITLE})?+\s*+\)"
_AT_LINE_START = r"^(?P<start>[ \t>*+.)\d-]*+)"  # in lists and quotations, too

_BLANK_LINE = re.compile(r"(\n[ \t]*+\n)")  # no link goes over one
_NUMBER = re.compile(rf"{BEGIN}|\[\s*+\d")
_LINK = re.compile(rf"(?P<code>{CODE})|(?P<cited>{END}\]*+){_TARGET}|(?<=[\]{END}])\(", re.DOTALL)
_LINK_IN_CODE = re.compile(r"\]\((?=\s*+<?(?:[a-z][a-z\d+.-]*+:|//|www\.))", re.IGNORECASE)
_REMOVED = re.compile(rf"(?<![ \t])[ \t]*+{BEGIN}{END}")
_DEFINITION = re.compile(
    rf"(?P<code>{CODE})"
    rf"|{_AT_LINE_START}(?:(?P<marks>(?:{MARK})++):(?P<target>[ \t]*+(?:{_ADDRESS})(?:{_TITLE})?+[ \t]*+$)?"
    r"|(?P<label>\[(?:[^\[\]\\]|\\.)*+\]):)"
    r"|<(?:/?a\b[^<>]*+>|(?P<broken>(?=/?a\b|[^\s<>|]++\|)))",  # HTML's, and Slack's: <address|text>
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)


def without_links(text: str) -> str:
    """The marked text without what would make a link of a citation, and without marks that have no number."""
    text = "".join(_unlinked(block) if _NUMBER.search(block) else block for block in _BLANK_LINE.split(text))
    text = _REMOVED.sub("", text)
    return _DEFINITION.sub(_undefined, text) if BEGIN in text else text


def _unlinked(block: str) -> str:
    """No target follows a citation, nor any other words: what stands between them is not for a pattern to tell."""

    def split_model_name(match: re.Match[str]) -> str:
        if match["code"]:  # as far as this pattern can tell
            return _LINK_IN_CODE.sub("] (", match["code"])
        return match["cited"] or " ("

    return _LINK.sub(split_model_name, block)


def _undefined(match: re.Match[str]) -> str:
    if match["code"]:
        return match["code"]
    if match["label"]:
        return f"{match['start']}{match['label']} :"
    if match["marks"]:
        return match["start"] + ("" if match["target"] else match["marks"])
    return "< " if match["broken"] is not None else ""
