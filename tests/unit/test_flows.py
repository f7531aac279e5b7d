"""Flows of CrewAI's projects: found, checked, run; what of CrewAI would reach past the journal is off."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM
from crewai.flow.flow import Flow, start
from crewai.flow.persistence import SQLiteFlowPersistence, persist
from crewai.llms.base_llm import BaseLLM

from crewrelay.catalogue.catalogue import Catalogue
from crewrelay.catalogue.project import Project, name_of, read_project
from crewrelay.catalogue.yaml_file import Faulty
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.running.checks import faults_of
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.records.job import JobInput
from crewrelay.testing import Unjournaled
from tests.support.crews import Shelf
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.projects import create, declared_flow, edit, flow, little_flow
from tests.support.runs import Attempts


@pytest.fixture(autouse=True)
def tuned() -> None:
    tune_crewai()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with openai_server() as server:
        for name, value in {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}.items():
            monkeypatch.setenv(name, value)
        yield server


def new_model(name: str | None = None) -> BaseLLM:
    model: BaseLLM = LLM(model="of-the-settings", provider="openai")
    return model


def project_of(folder: Path) -> Project:
    return read_project(name_of(folder), folder)


def run(folder: Path, calls: Any = None, **inputs: Any) -> str:
    runner = CrewRunner(new_model, Shelf(), definition_of=Catalogue([folder]).definition)
    checked = project_of(folder).card.inputs.check(inputs)
    return runner.run(JobInput(crew=folder.name, inputs=checked), calls or Unjournaled()).text


# ---- the result


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("return 'a text'", "a text"),
        ("return State(topic='snow')", '{"topic": "snow"}'),
        ("return [self.state.topic, 2]", '["rain", 2]'),
        ("self.state.topic = 'hail'", '{"topic": "hail"}'),
    ],
    ids=["text", "model", "list", "nothing"],
)
def test_the_answer_is_what_the_last_step_returns_or_else_the_state(
    tmp_path: Path, server: OpenAIServer, request: pytest.FixtureRequest, step: str, text: str
) -> None:
    assert run(little_flow(tmp_path, step, f"told_{request.node.callspec.id}")) == text


def test_a_default_that_is_not_of_its_type_is_left_alone(tmp_path: Path, server: OpenAIServer) -> None:
    """As in the flow of CrewAI's guide. `crewai run` gives no inputs, and with none CrewAI does not check the state."""
    folder = little_flow(tmp_path, "return f'{self.state.topic} {self.state.plan}'", "untyped")
    edit(
        folder / "src/untyped/main.py",
        ('topic: str = "rain"', 'topic: str = "rain"\n    plan: Plan = None'),
        ("class State", "class Plan(BaseModel):\n    title: str\n\nclass State"),
    )
    assert run(folder) == "rain None"


def test_the_id_of_the_state_is_the_jobs_and_no_call(tmp_path: Path, attempts: Attempts, server: OpenAIServer) -> None:
    folder = little_flow(tmp_path, "return self.state['id']", "named_by_job")
    edit(folder / "src/named_by_job/main.py", ("Flow[State]", "Flow"))
    assert run(folder, attempts.start()) == attempts.job.id
    assert attempts.journal == []


def test_a_flow_of_a_dict_takes_any_inputs(tmp_path: Path, server: OpenAIServer) -> None:
    folder = little_flow(tmp_path, "return self.state['deep']['a']", "dicted")
    edit(folder / "src/dicted/main.py", ("Flow[State]", "Flow"))
    assert run(folder, deep={"a": [1]}) == "[1]"
    assert project_of(folder).card.inputs.json_schema()["additionalProperties"] is True
    with pytest.raises(ValueError, match="control characters"):
        run(folder, deep="\x00")


def test_a_flow_gets_its_trigger_payload(tmp_path: Path, server: OpenAIServer) -> None:
    folder = little_flow(tmp_path, "return crewai_trigger_payload", "paid")
    edit(folder / "src/paid/main.py", ("def begin(self)", "def begin(self, crewai_trigger_payload: dict = None)"))
    assert json.loads(run(folder, crewai_trigger_payload={"a": 1})) == {"a": 1}


# ---- found


def test_of_several_flows_the_one_that_kickoff_makes_or_that_is_named(tmp_path: Path, server: OpenAIServer) -> None:
    other = "\nclass Other(Little):\n    pass\n"
    folder = little_flow(tmp_path, "return type(self).__name__", "many", other)
    with pytest.raises(Faulty, match=r"pyproject.toml:3: its flows are many.main:Little, many.main:Other; name one"):
        project_of(folder)
    path = folder / "pyproject.toml"
    text = path.read_text()
    edit(folder / "src/many/main.py", (other, f"{other}\ndef kickoff():\n    Other().kickoff()\n"))
    path.write_text(text + '[project.scripts]\nkickoff = "many.main:kickoff"\n')
    assert project_of(folder).target == "many.main:Other"
    path.write_text(text + '[tool.crewrelay]\nflow = "many.main:Little"\n')
    assert run(folder) == "Little"


def test_a_declaration_outside_of_the_project_is_refused(tmp_path: Path) -> None:
    folder = declared_flow(tmp_path, "outside")
    edit(folder / "pyproject.toml", ("src/outside/flow.yaml", "../flow.yaml"))
    with pytest.raises(Faulty, match="outside of the project"):
        project_of(folder)


# ---- checked


def test_fresh_flows_have_no_faults(tmp_path: Path, server: OpenAIServer) -> None:
    """As CrewAI makes them."""
    for name, options in (("fresh_flow", ("flow",)), ("fresh_declared", ("flow", "--declarative"))):
        folder = create(tmp_path, name, *options)
        assert faults_of(project_of(folder), new_model) == []
    assert run(tmp_path / "fresh_declared", topic="snow") == "snow"


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("Agent(role='a', goal='b', backstory='c', apps=['gmail'])", "apps of the Agent asks services"),
        ("Agent(role='a', goal='b', backstory='c', multimodal=True)", "multimodal of the Agent asks services"),
    ],
    ids=["apps", "multimodal"],
)
def test_what_a_flow_can_not_do_is_told_with_file_and_line(
    tmp_path: Path, server: OpenAIServer, request: pytest.FixtureRequest, step: str, told: str
) -> None:
    folder = little_flow(tmp_path, step, f"faulty_{request.node.callspec.id}")
    (fault,) = faults_of(project_of(folder), new_model)
    line = (folder / f"src/{folder.name}/main.py").read_text().split("\n").index(f"        {step}") + 1
    assert f"main.py:{line}: {told}" in str(fault)


def test_options_in_its_yaml_are_told_with_file_and_line(tmp_path: Path, server: OpenAIServer) -> None:
    folder = flow(tmp_path, "options")
    path = folder / "src/options/crews/content_crew/config/tasks.yaml"
    edit(path, ("  output_file: output/post.md", "  output_file: output/post.md\n  a2a: true"))
    (fault,) = faults_of(project_of(folder), new_model)
    line = path.read_text().split("\n").index("  a2a: true") + 1
    assert f"tasks.yaml:{line}: a2a asks services that are not journaled" in str(fault)


def test_a_field_of_the_state_that_is_not_found_in_the_code_is_told(tmp_path: Path, server: OpenAIServer) -> None:
    folder = little_flow(tmp_path, "return 'a'", "hidden")
    made = "import pydantic\nBase = pydantic.create_model('Base', more=(int, 1))\n\nclass State(Base, BaseModel)"
    edit(folder / "src/hidden/main.py", ("class State(BaseModel)", made))
    (fault,) = faults_of(project_of(folder), new_model)
    assert "more of its state is not found in its code; declare it, [tool.crewrelay.inputs.more]" in str(fault)
    edit(
        folder / "pyproject.toml", ("[tool.crewai]", "[tool.crewrelay.inputs.more]\ntype = 'integer'\n\n[tool.crewai]")
    )
    assert faults_of(project_of(folder), new_model) == []


# ---- run


def test_a_crew_that_a_flow_builds_is_checked_when_it_starts(tmp_path: Path, server: OpenAIServer) -> None:
    task = "Task(description='d', expected_output='e', agent=a)"
    agent = "a = Agent(role='a', goal='b', backstory='c', **dict(multimodal=True))"
    step = f"{agent}; return Crew(agents=[a], tasks=[{task}]).kickoff()"
    with pytest.raises(InvalidCrew, match="multimodal of a asks services that are not journaled"):
        run(little_flow(tmp_path, step, "late_crew"))
    assert server.asked == []


def test_an_agent_that_a_flow_builds_is_checked_when_it_starts(tmp_path: Path, server: OpenAIServer) -> None:
    step = "return Agent(role='a', goal='b', backstory='c', **dict(multimodal=True)).kickoff('Tell.')"
    with pytest.raises(InvalidCrew, match="multimodal of a asks services that are not journaled"):
        run(little_flow(tmp_path, step, "late_agent"))
    assert server.asked == []


def test_a_flow_opens_no_folder_of_memories() -> None:
    """In a process of its own: one that has opened one before has its packages."""
    code = (
        "import sys; from crewrelay.crews.running.tuning import tune_crewai; tune_crewai();"
        "from crewrelay.crews.journal.ambient import journaling; from crewrelay.testing import Unjournaled\n"
        "from crewai.flow.flow import Flow\n"
        "with journaling(Unjournaled()): print(Flow().memory is None, 'lancedb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "False False\n"


def test_a_flow_remembers_and_recalls_within_its_run(tmp_path: Path, server: OpenAIServer) -> None:
    step = "self.remember('Ulm is rainy.'); return self.recall('rainy towns')[0].record.content"
    folder = little_flow(tmp_path, step, "remembering")
    assert faults_of(project_of(folder), new_model) == []
    assert run(folder) == "Ulm is rainy."
    server.asked.clear()
    assert run(folder) == "Ulm is rainy."
    assert "/weather" not in str(server.asked[0])  # the scope of what the other run remembers


def test_persist_writes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "states.db"

    @persist(SQLiteFlowPersistence(str(path)))
    class Persisted(Flow):  # type: ignore[type-arg]
        @start()
        def begin(self) -> str:
            return "done"

    with journaling(Unjournaled()):
        assert Persisted().kickoff() == "done"
        assert Persisted().kickoff(inputs={"id": "another's"}) == "done"
    assert list(tmp_path.iterdir()) == []
