"""Each replaced part of CrewAI is still there, is documented, and has a test that fails without it."""

import json
import os
import subprocess
import sys

import pytest

from crewrelay.crews.running import tuning
from crewrelay.crews.running.tuning import REPLACEMENTS, Replacement
from tests.support.leave_out import NOTHING, REPORT, table
from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By what was left out, the tests that failed."""
    report = tmp_path_factory.mktemp("trials") / "report.json"
    modules = sorted({replacement.test.partition("::")[0] for replacement in REPLACEMENTS})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, "-p", "tests.support.leave_out", *(f"tests/unit/{module}" for module in modules)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {REPORT: str(report), "PYTHONPATH": str(ROOT)},
    )
    assert report.exists(), done.stdout + done.stderr
    told: dict[str, list[str]] = json.loads(report.read_text())
    return told


@pytest.mark.slow
@pytest.mark.parametrize("replacement", REPLACEMENTS, ids=lambda replacement: replacement.what)
def test_without_a_replacement_its_test_fails(failed: dict[str, list[str]], replacement: Replacement) -> None:
    assert failed[replacement.what], f"{replacement.test} passes without {replacement.what}"


@pytest.mark.slow
def test_with_all_replacements_their_tests_pass(failed: dict[str, list[str]]) -> None:
    assert failed[NOTHING] == []


def test_a_part_that_is_gone_is_not_replaced_in_silence() -> None:
    for gone in ("crewai.llms.base_llm.gone", "crewai.gone.run", "gone.run"):
        with pytest.raises((AttributeError, ImportError)):
            tuning._set(gone, None)


def test_the_page_shows_the_table() -> None:
    """`python -m tests.support.leave_out` prints it."""
    assert table() in (ROOT / "docs/crewai.md").read_text()
