"""docs/clients.md names every client that `make clients` runs, in the version that is pinned."""

import json
import re
import tomllib
from collections.abc import Mapping

from tests.clients.matrix import PAGE, Row, missing, rows_of, with_rows
from tests.support.processes import ROOT


def pinned() -> Mapping[str, str]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    python = [package for name, group in groups.items() if name.startswith("clients") for package in group]
    found = dict(re.sub(r"\[.*\]", "", package).split("==") for package in python)
    for package in (ROOT / "tests/clients/node").glob("*/package.json"):
        found |= json.loads(package.read_text())["dependencies"]
    return found


def test_every_pinned_client_is_in_the_table() -> None:
    assert {"crewai-tools", "openapi-fetch"} <= pinned().keys()
    assert missing(PAGE.read_text(), pinned()) == {}


def test_the_table_keeps_the_rows_of_clients_that_did_not_run() -> None:
    page = with_rows(PAGE.read_text(), [Row("one", "1.0", "this"), Row("one", "1.0", "that"), Row("two", "2.0", "all")])
    again = with_rows(page, [Row("one", "1.1", "less")])
    rows = rows_of(again)
    assert [row for row in rows if row.client in ("one", "two")] == [
        Row("one", "1.1", "less"),
        Row("two", "2.0", "all"),
    ]
    assert rows == sorted(rows)
    assert missing(again, {"one": "1.0", "two": "2.0", "three": "3"}) == {"one": "1.0", "three": "3"}
    assert again.partition("## ")[2] == PAGE.read_text().partition("## ")[2]


def test_no_lock_of_node_names_a_registry() -> None:
    locks = list(ROOT.glob("tests/clients/node/*/package-lock.json"))
    assert locks
    for lock in locks:
        assert not [name for name, one in json.loads(lock.read_text())["packages"].items() if "resolved" in one]
