"""Output that fits a terminal, a file and a program alike."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from crewrelay.jobs.text import in_one_line, json_of, shown

_PAGE = 100  # columns where there is no terminal


def say(text: str) -> None:
    typer.echo(shown(text))


def say_json(value: Any) -> None:
    typer.echo(json_of(value, indent=2))


def say_line(value: Any) -> None:
    """As a line of JSON Lines."""
    typer.echo(json_of(value))


def say_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as what is in them; the last one may be of any length."""
    cells = [list(header), *([in_one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        say("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def seconds(duration: float) -> str:
    """Like 41 ms, 1.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if duration < 0.9995:
        return f"{duration * 1000:.0f} ms"
    if duration < 59.5:
        return f"{duration:.1f} s" if duration < 9.95 else f"{duration:.0f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def plural(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def usage(calls: int, tokens: int, cost: float | None) -> str:
    """Like 3 calls, 1,234 tokens, $0.0123. A cost of None is not known."""
    money = "cost unknown" if cost is None else f"${cost:.4f}"
    return f"{plural(calls, 'call')}, {plural(tokens, 'token')}, {money}"


def width() -> int:
    """Columns of standard output."""
    if not sys.stdout.isatty():
        return _PAGE
    from shutil import get_terminal_size

    return get_terminal_size().columns
