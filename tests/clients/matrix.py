"""The table of docs/clients.md: which client did what against the real stack. `make clients` writes it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import ROOT

PAGE = ROOT / "docs/clients.md"
_BEGIN, _END = "<!-- clients: written by `make clients` -->\n", "<!-- clients: end -->\n"
_HEAD = "| client | version | what ran |\n|---|---|---|\n"


RunClient = Callable[..., list[str]]
Tell = Callable[[str, str, str], None]  # client, version, what ran


class Ran(NamedTuple):
    client: str
    version: str
    what: str


def table_of(page: str) -> list[Ran]:
    lines = page.partition(_BEGIN)[2].partition(_END)[0].removeprefix(_HEAD).splitlines()
    return [Ran(*(cell.strip() for cell in line.strip("| ").split(" | "))) for line in lines]


def with_table(page: str, rows: Iterable[Ran]) -> str:
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    lines = "".join(f"| {row.client} | {row.version} | {row.what} |\n" for row in sorted(rows))
    return before + begin + _HEAD + lines + end + after


def write(ran: Iterable[Ran], page: Path = PAGE) -> None:
    """The rows of the clients that ran; those of others stay."""
    whats: dict[tuple[str, str], list[str]] = {}
    for client, version, what in ran:
        whats.setdefault((client, version), []).append(what)
    new = [Ran(client, version, ", ".join(dict.fromkeys(each))) for (client, version), each in whats.items()]
    names, text = {row.client for row in new}, page.read_text()
    page.write_text(with_table(text, [*new, *(row for row in table_of(text) if row.client not in names)]))
