"""Crews that bear the names of the conformance suite's tools, and do as they do: flows, which ask no model."""

from pathlib import Path
from typing import NamedTuple

_PYPROJECT = '[project]\nname = "{name}"\n[tool.crewai]\ntype = "flow"\n'
_FLOW = """
import time

import crewrelay
from crewai.flow.flow import Flow, start
from pydantic import BaseModel


class State(BaseModel):
{state}


class Fixture(Flow[State]):
    @start()
    def begin(self):
{step}
"""


class _Fixture(NamedTuple):
    step: str
    state: str = "pass"


_FIXTURES = {
    "greet": _Fixture('return f"Hello, {self.state.name}!"', 'name: str = "you"'),
    "slow_compute": _Fixture(
        """\
        if self.state.seconds:
            time.sleep(0.5)  # what ends within a second is answered at once, and becomes no task
        for tick in range(int(self.state.seconds * 4)):
            crewrelay.step(f"tick {tick}", time.sleep, 0.25)  # where a cancelled job stops
        return f"Computed {self.state.label}."
""",
        'seconds: float = 0\n    label: str = ""',
    ),
    "failing_job": _Fixture('time.sleep(1.5)\nraise ValueError("the job fails, as it should")'),
    "protocol_error_job": _Fixture('time.sleep(1.5)\nraise ValueError("the job fails, as it should")'),
    "confirm_delete": _Fixture(
        'return crewrelay.ask(f"Delete {self.state.filename}?") or "Deleted."', 'filename: str = ""'
    ),
    "multi_input": _Fixture('return crewrelay.ask("What is your name?") + crewrelay.ask("Are you sure?")'),
    "test_simple_text": _Fixture('return "This is a simple text response for testing."'),
    "test_error_handling": _Fixture('raise ValueError("This tool intentionally returns an error for testing")'),
    "test_input_required_result_elicitation": _Fixture('return "Hello, " + crewrelay.ask("What is your name?") + "!"'),
}


def fixtures(folder: Path) -> Path:
    """Writes them into the folder."""
    for name, fixture in _FIXTURES.items():
        package = folder / name / "src" / name
        package.mkdir(parents=True)
        step = fixture.step if fixture.step.startswith(" ") else _indented(fixture.step, 8)
        (package / "main.py").write_text(_FLOW.format(state=_indented(fixture.state, 4), step=step))
        (folder / name / "pyproject.toml").write_text(_PYPROJECT.format(name=name))
    return folder


def _indented(lines: str, by: int) -> str:
    return "\n".join(" " * by + line.lstrip() for line in lines.splitlines())
