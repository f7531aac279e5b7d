"""How CrewAI reads a model's reply, in time that grows as the reply does.

Its own patterns take the square of it: 60 KB of "Action: x, Action Input" and blanks kept a process, every other thread
of it too, for minutes. Measured on 1.15.30, the version that is pinned; tests/unit/test_reading.py compares the two.
"""

import json
import re
from functools import cache
from typing import Any

import crewai.agents.parser as parser
import crewai.llms.base_llm as base_llm
import crewai.utilities.converter as converter
from crewai.tools.tool_usage import ToolUsage
from json_repair import repair_json

_ACTION = r"Action\s*+\d*+\s*+:\s*+"
_INPUT = r"Action\s*+\d*+\s*+Input\s*+\d*+\s*+:\s*+"
_PATTERNS = {
    "ACTION_REGEX": _ACTION,
    "ACTION_INPUT_ONLY_REGEX": _INPUT,
    "ACTION_INPUT_REGEX": rf"\A(?:(?!{_ACTION}).)*+{_ACTION}((?:(?!{_INPUT}).)*+){_INPUT}(.*)",
}
# Characters of a tool's arguments that are not JSON. What mends them has loops of the same kind, and reads no more than
# this in half a second.
_LONGEST_MENDED = 4000


@cache
def read_in_linear_time() -> None:
    """Call once, before the first crew is run."""
    vars(parser).update({name: re.compile(pattern, re.DOTALL) for name, pattern in _PATTERNS.items()})
    vars(converter)["_JSON_PATTERN"] = vars(base_llm)["_JSON_EXTRACTION_PATTERN"] = _Braces()
    vars(parser)["repair_json"] = lambda text: "" if len(text) > _LONGEST_MENDED else repair_json(text)
    validated = ToolUsage._validate_tool_input

    def validated_if_short(usage: ToolUsage, arguments: str | None) -> dict[str, Any]:
        long = arguments is not None and len(arguments) > _LONGEST_MENDED
        return validated(usage, "" if long and not _is_json(arguments) else arguments)

    ToolUsage._validate_tool_input = validated_if_short  # type: ignore


def summary_of(reply: str) -> str:
    """What stands between its tags, if it has both, as CrewAI would take it."""
    _, _, begun = reply.partition("<summary>")
    summary, end, _ = begun.partition("</summary>")
    return (summary if end else reply).replace("<summary>", "")


def _is_json(text: str | None) -> bool:
    try:
        json.loads(text or "")
    except (ValueError, RecursionError):
        return False
    return True


class _Braces:
    """The pattern `{.*}`: from the first brace to the last."""

    def search(self, text: str) -> "re.Match[str] | None":
        start, end = text.find("{"), text.rfind("}")
        return re.compile(".*", re.DOTALL).fullmatch(text, start, end + 1) if 0 <= start < end else None
