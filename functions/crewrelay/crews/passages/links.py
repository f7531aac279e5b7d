"""Removes links from the citations of a Markdown or HTML text: a citation must lead to its source only.

Citations come marked, with control characters around their numbers, which `jobs.text.shown` has removed from the text.
Each pattern begins with a character that the rest of it can't match, so that matching takes linear time.
"""

import html
import re

BEGIN, END = "\x02", "\x03"
MARK = rf"{BEGIN}\d*+{END}"
CODE = r"(?<![\\`])(?:```(?!`).*?(?<!`)```|`[^`\n]+`)(?!`)"

_ADDRESS = r"<[^<>\n]*+>|(?:[^\s()\\<]|\\.|\([^\s()]*+\))*+"
_TITLE = r"""\s++(?:"[^"]*+"|'[^']*+'|\([^()]*+\))"""
_TARGET = rf"\(\s*+(?:{_ADDRESS})(?:{_TITLE})?+\s*+\)"
_AT_LINE_START = r"^(?P<start>[ \t>*+.)\d-]*+)"  # in lists and quotations, too

_BLANK_LINE = re.compile(r"(\n[ \t]*+\n)")  # no link spans one
_TAG = re.compile(r"<[^<>]*+>")
_NUMBER = re.compile(rf"{BEGIN}|\[\s*+\d")
_LINK = re.compile(rf"(?P<code>{CODE})|(?P<cited>{END}\]*+){_TARGET}|(?<=[\]{END}])\(", re.DOTALL)
_REMOVED = re.compile(rf"(?<![ \t])[ \t]*+{BEGIN}{END}")
# HTML's links, and Slack's: <address|text>
_HTML = re.compile(
    rf"(?P<code>{CODE})|(?P<tags>(?:</?a\b[^<>]*+>)++)|<(?=/?a\b|[^\s<>|]++\|)", re.DOTALL | re.IGNORECASE
)
_DEFINITION = re.compile(
    rf"(?P<code>{CODE})"
    rf"|{_AT_LINE_START}(?:(?P<marks>(?:{MARK})++):(?P<target>[ \t]*+(?:{_ADDRESS})(?:{_TITLE})?+[ \t]*+$)?"
    r"|(?P<label>\[(?:[^\[\]\\]|\\.)*+\]):)",
    re.DOTALL | re.MULTILINE,
)
# Where code ends is a guess: a backtick in an address or attribute begins none.
_WEB = r"\s*+<?(?:[a-z][a-z\d+.-]*+:|//|www\.)"
_LINK_IN_CODE = re.compile(
    rf"\](?=\({_WEB})|<(?=a\s|[a-z][a-z\d+.-]*+:[^\s<>|]*+\|)|{_AT_LINE_START}\[(?:[^\[\]\\]|\\.)*+\](?=:{_WEB})",
    re.IGNORECASE | re.MULTILINE,
)


def without_links(text: str) -> str:
    """The marked text without links on its citations, and without marks that have no number."""
    text = "".join(_unlinked(block) if _may_cite(block) else block for block in _BLANK_LINE.split(text))
    text = _REMOVED.sub("", text)
    return _DEFINITION.sub(_undefined, _HTML.sub(_without_tags, text)) if _may_cite(text) else text


def _may_cite(text: str) -> bool:
    """Whether it has a citation, or what a page shows as one."""
    return any(map(_NUMBER.search, (text, html.unescape(_TAG.sub("", text)))))


def _unlinked(block: str) -> str:
    """The block without a link target after any bracket: which of them is a citation's, no pattern can tell."""

    def separated(match: re.Match[str]) -> str:
        if match["code"]:
            return _unlinked_code(match["code"])
        if not match["cited"]:
            return " ("
        # Nor may what follows a removed target become one.
        return match["cited"] + " " * block.startswith("(", match.end())

    return _LINK.sub(separated, block)


def _without_tags(match: re.Match[str]) -> str:
    if match["code"]:
        return _unlinked_code(match["code"])
    if not match["tags"]:
        return "< "
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    joined = before == "<" or (before in ("]", END) and after == "(")  # to a new tag or target
    return " " if joined else ""


def _undefined(match: re.Match[str]) -> str:
    if match["code"]:
        return _unlinked_code(match["code"])
    if match["label"]:
        return f"{match['start']}{match['label']} :"
    return match["start"] + ("" if match["target"] else match["marks"])


def _unlinked_code(code: str) -> str:
    return _LINK_IN_CODE.sub(lambda match: f"{match[0]} ", code)
