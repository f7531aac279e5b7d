"""Draws a timeline: a bar for each row on one axis, in colours if it is for a terminal."""

import sys
from collections.abc import Sequence
from typing import Any

from crewrelay.cli.output import text
from crewrelay.cli.output.timeline import Row
from crewrelay.jobs.text import in_one_line

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEAST_AXIS, _LONGEST_LABEL = 16, 56  # columns
_FILLS = {"wait": "░", "run": "▁", "task": "▒"}  # calls are solid
_COLOURS = {"wait": "yellow", "run": "blue", "task": "cyan", "end": "bold"}
_INDENTS = {"task": "  "}


def say_rows(rows: Sequence[Row], job: dict[str, Any]) -> None:
    receipt, columns = job["receipt"], text.width()
    tokens = receipt["prompt_tokens"] + receipt["completion_tokens"]
    spent = text.usage(receipt["calls_paid"], tokens, receipt["cost_usd"])
    replayed = f", {receipt['calls_replayed']:,} replayed" if receipt["calls_replayed"] else ""
    _print(in_one_line(f"job {job['job_id']} · {job['crew']} · {job['status']} · {spent}{replayed}"), "bold")
    if not rows:
        return
    total = max(max(row.end for row in rows), 0.001)
    labels = [f"{_indent(row)}{row.what}" for row in rows]
    label = min(_LONGEST_LABEL, max(map(len, labels)), max(12, columns - _LEAST_AXIS - 30))
    axis = max(_LEAST_AXIS, columns - label - 30)
    for row, name in zip(rows, labels, strict=True):
        cut = name if len(name) <= label else name[: label - 1] + "…"
        took = text.seconds(row.end - row.start) if row.kind != "end" else text.seconds(row.end)
        drawn = bar(row, total, axis)
        _print(f"{cut:{label}} {drawn} {took:>9}{_spent(row)}".rstrip(), _COLOURS.get(row.kind, "green"))


def bar(row: Row, total: float, columns: int) -> str:
    """The row's part of the axis; at least a thin line, however short it was."""
    first, last = row.start / total * columns, row.end / total * columns
    place = min(int(first), columns - 1)
    if row.kind == "end":
        return " " * place + "■" + " " * (columns - place - 1)
    if fill := _FILLS.get(row.kind):
        drawn = fill * max(1, round(last) - place)
    else:
        eighths = max(1, round((last - first) * 8))
        drawn = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return f"{' ' * place}{drawn}"[:columns].ljust(columns)


def _indent(row: Row) -> str:
    return "" if row.kind in ("wait", "run", "end") else _INDENTS.get(row.kind, "    ")


def _spent(row: Row) -> str:
    if row.tokens is None:
        return ""
    return f"  {row.tokens:,} tokens" + ("" if row.cost is None else f" ${row.cost:.4f}")


def _print(line: str, style: str) -> None:
    if not sys.stdout.isatty():
        return text.say(line)
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False, soft_wrap=True).print(Text(line, style))
