"""The workflows of docs/n8n, as files: what an import needs, and nothing that belongs to one installation."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT

FILES = sorted((ROOT / "docs/n8n").glob("*.json"))
HTTP, WAIT = "n8n-nodes-base.httpRequest", "n8n-nodes-base.wait"


def of_type(flow: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [node for node in flow["nodes"] if node["type"] == kind]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_workflow_is_whole_and_has_no_secret(file: Path) -> None:
    text = file.read_text()
    flow = json.loads(text)
    names = [node["name"] for node in flow["nodes"]]
    assert len({node["id"] for node in flow["nodes"]}) == len({*names}) == len(names)
    linked = {link["node"] for each in flow["connections"].values() for out in each["main"] for link in out}
    assert linked | {"Start"} == {*names}
    assert flow["connections"].keys() <= {*names}
    assert all(
        node["credentials"] == {"httpHeaderAuth": {"id": "crewrelay", "name": "crewrelay"}}
        for node in of_type(flow, HTTP)
    )
    assert "Bearer" not in text
    assert text.count("://") == text.count('"http://localhost:8000"') == 1  # in Settings


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_wait_for_a_webhook_listens_to_post_and_ends(file: Path) -> None:
    waits = [node["parameters"] for node in of_type(json.loads(file.read_text()), WAIT)]
    hooks = [wait for wait in waits if wait["resume"] == "webhook"]
    assert bool(hooks) == ("resumeUrl" in file.read_text())
    assert all(hook["httpMethod"] == "POST" and hook["limitWaitTime"] for hook in hooks)


def test_the_page_names_each_workflow_and_the_version_of_n8n() -> None:
    page = (ROOT / "docs/n8n.md").read_text()
    installed = json.loads((ROOT / "tests/n8n/node/package.json").read_text())["dependencies"]["n8n"]
    assert len({flow["id"] for flow in map(json.loads, (file.read_text() for file in FILES))}) == len(FILES) == 4
    assert all(f"(n8n/{file.name})" in page for file in FILES)
    assert f"n8n {installed} " in page


def test_the_lock_names_no_registry() -> None:
    assert '"resolved"' not in (ROOT / "tests/n8n/node/package-lock.json").read_text()
