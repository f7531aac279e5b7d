"""The table of clients in docs/clients.md, which `make clients` writes: which client of which version did what."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import ROOT

PAGE = ROOT / "docs/clients.md"
_BEGIN, _END = "<!-- Written by `make clients`. -->\n", "<!-- The end of the table. -->\n"
_HEAD = "| client | version | what ran |\n|---|---|---|\n"


class Row(NamedTuple):
    client: str
    version: str
    what: str


def rows_of(page: str) -> list[Row]:
    table = page.partition(_BEGIN)[2].partition(_END)[0].removeprefix(_HEAD)
    return [Row(*(cell.strip() for cell in line.strip("|").split(" | "))) for line in table.splitlines()]


def with_rows(page: str, told: Iterable[Row]) -> str:
    """The page with these rows in place of those that it had of the same clients."""
    new = list(told)
    clients = {row.client for row in new}
    rows = sorted({*new, *(row for row in rows_of(page) if row.client not in clients)})
    before, _, rest = page.partition(_BEGIN)
    table = _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"{before}{_BEGIN}{table}{_END}{rest.partition(_END)[2]}"


def write(rows: Iterable[Row], path: Path = PAGE) -> None:
    path.write_text(with_rows(path.read_text(), rows))


def missing(page: str, pinned: Mapping[str, str]) -> dict[str, str]:
    """The clients that the page does not name in the version that is pinned."""
    told = {row.client: row.version for row in rows_of(page)}
    return {client: version for client, version in pinned.items() if told.get(client) != version}
