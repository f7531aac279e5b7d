"""Reads a model's reply in linear time: what tuning.py puts in the place of CrewAI's patterns and repairs.

tests/unit/test_reading.py compares the results with those of CrewAI's own.
"""

import json
import re
from typing import Any

from crewai.tools.tool_usage import ToolUsage
from json_repair import repair_json

_ACTION = r"Action\s*+\d*+\s*+:\s*+"
_INPUT = r"Action\s*+\d*+\s*+Input\s*+\d*+\s*+:\s*+"
PATTERNS = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        "ACTION_REGEX": _ACTION,
        "ACTION_INPUT_ONLY_REGEX": _INPUT,
        "ACTION_INPUT_REGEX": rf"\A(?:(?!{_ACTION}).)*+{_ACTION}((?:(?!{_INPUT}).)*+){_INPUT}(.*)",
    }.items()
}
# Characters. Repairing this many, with its square time, takes half a second.
_LONGEST_REPAIRED = 4000

_validated = ToolUsage._validate_tool_input


class Braces:
    """The pattern `{.*}`: from the first brace to the last."""

    def search(self, text: str) -> "re.Match[str] | None":
        start, end = text.find("{"), text.rfind("}")
        return re.compile(".*", re.DOTALL).fullmatch(text, start, end + 1) if 0 <= start < end else None


def repair_if_short(text: str) -> Any:
    return "" if len(text) > _LONGEST_REPAIRED else repair_json(text)


def validated_if_short(usage: ToolUsage, arguments: str | None) -> dict[str, Any]:
    """A tool's arguments; long ones only if they are JSON."""
    long = arguments is not None and len(arguments) > _LONGEST_REPAIRED
    return _validated(usage, "" if long and not _is_json(arguments) else arguments)


def summary_of(reply: str) -> str:
    """The text between the first summary tags, else all of it, without any tags: as CrewAI takes it."""
    _, _, begun = reply.partition("<summary>")
    summary, end, _ = begun.partition("</summary>")
    return (summary if end else reply).replace("<summary>", "")


def _is_json(text: str | None) -> bool:
    try:
        json.loads(text or "")
    except (ValueError, RecursionError):
        return False
    return True
