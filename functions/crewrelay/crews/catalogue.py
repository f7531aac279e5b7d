"""Which crews there are: a folder each, with CrewAI's own config/agents.yaml and config/tasks.yaml.

Light on purpose: the functions that only accept work read the names and never import CrewAI.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    return tuple(sorted(path.parent.parent.name for path in _HERE.glob("*/config/agents.yaml")))


def load(name: str) -> Any:
    """The @CrewBase class of a crew; importing it imports CrewAI."""
    return importlib.import_module(f"crewrelay.crews.{name}.crew").crew_class
