"""The short form of `make mutants`: faults that once were found by nothing."""

import subprocess
import sys

from tests.support.fixtures import Figure
from tests.support.processes import ROOT


def test_every_named_mutant_is_killed(figure: Figure) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--named"], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert told.returncode == 0, told.stdout + told.stderr
    figure(told.stdout.splitlines()[-1])
