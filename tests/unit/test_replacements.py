"""Each replaced part of CrewAI is still there, is documented, and has a test that fails without it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crewrelay.crews.running import tuning
from tests.support.leave_out import NOTHING, REPORT, chosen, table
from tests.support.processes import ROOT


def failed(folder: Path) -> dict[str, list[str]]:
    """By what was left out, the tests that failed."""
    report = folder / "report.json"
    modules = sorted({replacement.test.partition("::")[0] for replacement in chosen()})
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
def test_without_a_replacement_its_test_fails_and_with_all_none_does(tmp_path: Path) -> None:
    """One test, for it is one run of the others: workers of pytest-xdist would each have one."""
    told = failed(tmp_path)
    assert told.pop(NOTHING) == []
    assert told.keys() == {replacement.what for replacement in chosen()}
    passed = [f"{one.test} passes without {one.what}" for one in chosen() if not told[one.what]]
    assert passed == []


def test_a_part_that_is_gone_is_not_replaced_in_silence() -> None:
    for gone in ("crewai.llms.base_llm.gone", "crewai.gone.run", "gone.run"):
        with pytest.raises((AttributeError, ImportError)):
            tuning._set(gone, None)


def test_the_page_shows_the_table() -> None:
    """`python -m tests.support.leave_out` prints it."""
    assert table() in (ROOT / "docs/crewai.md").read_text()
