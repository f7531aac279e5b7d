"""Crews of the tests' own, as files."""

from datetime import timedelta
from pathlib import Path

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.jobs.records.answer import Passage

CREW = """\
description: Tells of a topic.
inputs:
  topic:
    description: What to tell of
    max_length: 20
"""
AGENTS = """\
teller:
  role: Teller of tales
  goal: Tell
  backstory: You tell.
"""
TASKS = """\
tell:
  description: Tell of {topic}.
  expected_output: A tale.
  agent: teller
"""


class Shelf:
    """A collection with nothing in it."""

    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        return []


class OwnCrews:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def put(self, name: str = "tales", *, crew: str = CREW, agents: str = AGENTS, tasks: str = TASKS) -> Path:
        """A crew's folder with these files, in the place of what was there; this process will read it anew."""
        config = self.folder / name / "config"
        config.mkdir(parents=True, exist_ok=True)
        for file, text in (("crew", crew), ("agents", agents), ("tasks", tasks)):
            (config / f"{file}.yaml").write_text(text)
        catalogue.cache_clear()
        return config.parent

    def write(self, name: str, *, inputs: str, text: str) -> Path:
        """A crew of one task with such inputs, in YAML's flow style, and such a text."""
        crew = f"description: {name}\ninputs: {inputs if inputs.startswith('{') else f'{{{inputs}}}'}\n"
        return self.put(name, crew=crew, tasks=TASKS.replace("Tell of {topic}.", f'"{text}"'))
