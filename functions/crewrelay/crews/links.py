"""Removes links from the citations of a Markdown or HTML text: a citation must lead to its source only.

Citations come marked, with control characters around their numbers, which `jobs.text.shown` has removed from the text.
Each pattern begins with a character that the rest of it can't match, so that matching takes linear time.
"""

import re

BEGIN, END = "\x02", "\x03"
MARK = rf"{BEGIN}\d*+{END}"
CODE = r"(?<![\\`])(?:```(?!`).*?(?<!`)```|`[^`\n]+`)(?!`)"

_ADDRESS = r"<[^<>\n]*+>|(?:[^\s()\\<]|\\.|\([^\s()]*+\))*+"
_TITLE = r"""\s++(?:"[^"]*+"|'[^']*+'|\([^()]*+\))"""
_TARGET = rf"\(\s*+(?:{_ADDRESS})(?:{_TITLE})?+\s*+\)"
_AT_LINE_START = r"^(?P<start>[ \t>*+.)\d-]*+)"  # in lists and quotations, too

_BLANK_LINE = re.compile(r"(\n[ \t]*+\n)")  # no link spans one
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
    """The marked text without links on its citations, and without marks that have no number."""
    text = "".join(_unlinked(block) if _NUMBER.search(block) else block for block in _BLANK_LINE.split(text))
    text = _REMOVED.sub("", text)
    return _DEFINITION.sub(_undefined, text) if BEGIN in text else text


def _unlinked(block: str) -> str:
    """The block without a link target after any bracket: which of them is a citation's, no pattern can tell."""

    def separated(match: re.Match[str]) -> str:
        if match["code"]:  # as far as this pattern can tell
            return _LINK_IN_CODE.sub("] (", match["code"])
        return match["cited"] or " ("

    return _LINK.sub(separated, block)


def _undefined(match: re.Match[str]) -> str:
    if match["code"]:
        return match["code"]
    if match["label"]:
        return f"{match['start']}{match['label']} :"
    if match["marks"]:
        return match["start"] + ("" if match["target"] else match["marks"])
    return "< " if match["broken"] is not None else ""
