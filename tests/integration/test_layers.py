"""The layers of pyproject.toml: every module has its floor, and what a layer must not import is refused. And no test
is imported.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PACKAGE = "functions/crewrelay"


def linted(house: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(house / "functions")}
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, to be broken."""
    copy = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copytree(ROOT / "functions", copy / "functions", ignore=shutil.ignore_patterns("*.pyc", "*.txt", "*.npy"))
    return copy


def test_every_module_has_its_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["name"] == "Layers")
    named = {name.strip() for layer in layers for name in layer.split("|")}
    there = {
        path.stem for path in (ROOT / PACKAGE).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    handlers = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    assert named == {f"crewrelay.{name}" for name in there - {"__init__"}} | handlers


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_test_and_no_conftest_is_imported() -> None:
    """What tests share is in tests/support, or in a module beside them."""
    refused = re.compile(r"(^|\.)(test_\w+|conftest)(\.|$)")
    found = {path: list(filter(refused.search, imported(path))) for path in (ROOT / "tests").rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_contract_has_an_exception() -> None:
    assert "ignore_imports" not in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("jobs/money.py", "crewrelay.prices", "Layers"),
        ("jobs/money.py", "yaml", "The domain"),
        ("aws/queue.py", "crewrelay.wiring.jobs", "Layers"),
        ("aws/queue.py", "crewrelay.http.problems", "Layers"),
        ("sqlite/store.py", "crewrelay.aws.store", "Layers"),
        ("sqlite/store.py", "boto3", "boto3"),
        ("catalogue/inputs.py", "crewrelay.crews.running.building", "Layers"),
        ("retrieval/chunks.py", "crewrelay.catalogue.definition", "Layers"),
        ("retrieval/chunks.py", "crewai", "CrewAI"),
        ("crews/models/providers.py", "crewrelay.crews.journal.ambient", "Rooms of crews"),
        ("crews/passages/search.py", "boto3", "boto3"),
        ("crews/passages/search.py", "haystack", "Haystack and Weaviate"),
        ("aws/store.py", "fastapi", "FastAPI"),
        ("../worker/handler.py", "crewrelay.cli.terminal", "Layers"),
        ("../api/handler.py", "crewrelay.wiring.crews", "Light functions"),
    ],
)
def test_an_import_from_above_is_refused(house: Path, module: str, imported: str, contract: str) -> None:
    path = house / PACKAGE / module
    source = path.read_text()
    path.write_text(f"import {imported}\n{source}")
    try:
        done = linted(house)
    finally:
        path.write_text(source)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(line.startswith(contract) and line.endswith("BROKEN") for line in done.stdout.splitlines()), done.stdout


def test_the_copy_is_sound(house: Path) -> None:
    """Or the refusals above would prove nothing."""
    assert linted(house).returncode == 0
