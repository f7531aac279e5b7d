"""docs/testing.md: its commands and its test, run as they stand in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.stack import environment

PAGE = (ROOT / "docs/testing.md").read_text()


def test_the_example_passes_on_a_new_crew(tmp_path: Path) -> None:
    new, run = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "test_mine.py").write_text(example)
    commands = (new + run).replace("crewrelay crews", f"{sys.executable} -m crewrelay crews")
    commands = commands.replace("pytest ", f"{sys.executable} -m pytest -p no:cacheprovider ")
    kept = {name: value for name, value in environment().items() if not name.startswith("CREWAI")}
    done = subprocess.run(
        ["bash", "-ec", commands], cwd=tmp_path, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"{example.count('def test_')} passed" in done.stdout
