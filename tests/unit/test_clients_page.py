"""docs/clients.md names every client that `make clients` installs, in its version."""

import json
import tomllib
from pathlib import Path

from tests.clients.matrix import PAGE, Ran, table_of, with_table, write
from tests.support.processes import ROOT


def installed() -> set[tuple[str, str]]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    python = [pin.split("==") for name, pins in groups.items() if name.startswith("clients") for pin in pins]
    node = json.loads((ROOT / "tests/clients/node/package.json").read_text())["dependencies"]
    return {(f"{name.partition('[')[0]} (pip)", version) for name, version in python} | {
        (f"{name} (npm)", version) for name, version in node.items()
    }


def test_the_table_has_every_client() -> None:
    assert installed() <= {(row.client, row.version) for row in table_of(PAGE.read_text())}


def test_a_run_replaces_the_rows_of_its_clients_only(tmp_path: Path) -> None:
    old, other = Ran("one", "1", "start"), Ran("two", "1", "start")
    page = tmp_path / "page.md"
    page.write_text(with_table(PAGE.read_text(), [old, other]))
    write([Ran("one", "2", "start"), Ran("one", "2", "cancel"), Ran("one", "2", "start")], page)
    assert table_of(page.read_text()) == [Ran("one", "2", "start, cancel"), other]


def test_the_locks_name_no_registry() -> None:
    assert '"resolved"' not in (ROOT / "tests/clients/node/package-lock.json").read_text()
    for lock in (ROOT / "locks").glob("clients*.lock"):
        assert "://" not in lock.read_text()
