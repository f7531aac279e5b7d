"""What crews ask is what they asked before, or PROMPT_VERSION says that it is not.

The journal's keys are made of these requests: a job that goes on under another prompt would pay for its calls again, or
replay replies to other questions.
"""

import difflib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from crewrelay.crews.journal.durable import PROMPT_VERSION
from tests.support.processes import ROOT
from tests.support.prompts import GOLDEN, digest, prompts, written

# The golden prompts of each version of CrewAI and of ours. Add a line, don't change one.
VERSIONS = {("1.15.30", 1): "cda27eea9c8e81c6", ("1.15.30", 2): "b182fa949e4bbec9"}
HOW = (
    "raise PROMPT_VERSION in crews/journal/durable.py, run `.venv/bin/python -m tests.support.prompts` to rewrite the "
    "golden prompts, and add the line that it prints to VERSIONS"
)


def test_a_prompt_changes_only_with_its_version() -> None:
    golden, now = GOLDEN.read_text(), written(prompts())
    changed = list(difflib.unified_diff(golden.splitlines(), now.splitlines(), n=0, lineterm=""))
    assert not changed, "\n".join([f"the prompt changed: {HOW}", *changed[:40]])


def test_the_golden_prompts_are_rewritten_only_with_a_version() -> None:
    golden = GOLDEN.read_text()
    known = VERSIONS.get((version("crewai"), PROMPT_VERSION))
    assert digest(golden) == known, f"the golden prompts changed: {HOW}"
    assert json.loads(golden)["prompt_version"] == PROMPT_VERSION


@pytest.mark.slow
def test_a_crew_asks_the_same_in_another_process(tmp_path: Path) -> None:
    told = tmp_path / "prompts.json"
    subprocess.run(
        [sys.executable, "-m", "tests.support.prompts", str(told)],
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert told.read_text() == GOLDEN.read_text()
