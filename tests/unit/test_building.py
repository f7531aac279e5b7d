"""A crew from its files: whose model and tools an agent gets, and that a caller's text reaches the model as it is."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.definition import read_definition
from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.passages.citations import Bibliography
from crewrelay.crews.passages.search import SearchPassages
from crewrelay.crews.running.building import build
from crewrelay.crews.running.dry_run import DryRunCalls, dry_run
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.journal import Kind
from crewrelay.retrieval.embedded.collections import EmbeddedRetriever
from crewrelay.testing import Unjournaled
from tests.support.crews import AGENTS, CREW, TASKS, OwnCrews, Shelf
from tests.support.doubles.crew import ScriptedModel, weather_call
from tests.support.fixtures import HandSetClock
from tests.support.processes import ROOT
from tests.support.runs import Attempts

TWO_AGENTS = AGENTS + "  llm: scripted/own\n" + AGENTS.replace("teller:", "listener:")
TWO_TASKS = TASKS + TASKS.replace("tell:", "listen:").replace("agent: teller", "agent: listener")
TOOLS = '''
from crewai.tools import BaseTool

def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"rain in {city}"

class Shout(BaseTool):
    name: str = "shout"
    description: str = "Says it aloud."

    def _run(self, text: str) -> str:
        return text.upper()
'''


def built(folder: Path, **given: Any) -> tuple[Any, list[str | None]]:
    """The crew, and the names of models that it asked for."""
    asked: list[str | None] = []

    def model_of(name: str | None) -> JournaledLLM:
        asked.append(name)
        return JournaledLLM(ScriptedModel(), DryRunCalls())

    definition = read_definition(folder.name, folder)
    return build(definition, given, model_of, SearchPassages(Shelf(), Bibliography())), asked


@pytest.mark.parametrize(
    ("crew", "models"),
    [(CREW, ["scripted/own", None]), (CREW + "model: scripted/crew\n", ["scripted/own", "scripted/crew"])],
)
def test_an_agent_has_its_own_model_or_the_crews_or_that_of_the_settings(
    own_crews: OwnCrews, crew: str, models: list[str | None]
) -> None:
    folder = own_crews.put(crew=crew, agents=TWO_AGENTS, tasks=TWO_TASKS)
    assert built(folder, topic="ants")[1] == models
    assert read_definition("tales", folder).models == frozenset(models)


def test_an_agent_that_is_verbose_prints_nothing(own_crews: OwnCrews, capfd: pytest.CaptureFixture[str]) -> None:
    """It would be what callers and models wrote, past the log."""
    agents = AGENTS.replace("llm: scripted/own\n", "") + "  verbose: true\n"
    crew, _ = built(own_crews.put(agents=agents), topic="SECRET")
    crew.kickoff()
    assert "SECRET" not in "".join(capfd.readouterr())


def test_a_manager_has_the_crews_model(own_crews: OwnCrews) -> None:
    tasks = TASKS.replace("  agent: teller\n", "")
    folder = own_crews.put(crew=CREW + "process: hierarchical\nmodel: scripted/crew\n", tasks=tasks)
    crew, models = built(folder, topic="ants")
    assert models == ["scripted/crew"] * 2
    assert crew.manager_llm is not None


def test_tasks_have_the_context_and_options_of_their_file(own_crews: OwnCrews) -> None:
    more = "  context: [tell]\n  markdown: true\n"
    crew, _ = built(own_crews.put(agents=TWO_AGENTS, tasks=TWO_TASKS + more), topic="ants")
    first, second = crew.tasks
    assert (first.name, first.description, second.context, second.markdown) == ("tell", "Tell of ants.", [first], True)
    assert [agent.max_retry_limit for agent in crew.agents] == [0, 0]


def test_a_tool_is_the_search_or_of_the_crews_own(own_crews: OwnCrews) -> None:
    folder = own_crews.put("with-tools", agents=AGENTS + "  tools: [search_passages, weather, Shout]\n")
    (folder / "tools.py").write_text(TOOLS)
    (agent,) = built(folder, topic="ants")[0].agents
    assert [tool.name for tool in agent.tools] == ["search_passages", "weather", "shout"]
    assert built(folder, topic="ants")[0].agents[0].tools[2] is not agent.tools[2]


def test_a_tool_of_a_crews_own_is_run_and_journaled(own_crews: OwnCrews) -> None:
    folder = own_crews.put("weather", agents=AGENTS + "  tools: [weather]\n")
    (folder / "tools.py").write_text(TOOLS)

    def script(messages: Any) -> Any:
        heard = [message["content"] for message in messages if message["role"] == "tool"]
        return f"Told: {heard[0]}" if heard else weather_call("Ulm")

    calls = Unjournaled()
    runner = CrewRunner(lambda *_: ScriptedModel(script), Shelf())
    answer = runner.run(JobInput(crew="weather", inputs={"topic": "rain"}), calls)
    assert (answer.text, answer.answerable) == ("Told: rain in Ulm", None)
    assert [call.kind for call in calls.paid] == [Kind.MODEL, Kind.TOOL, Kind.MODEL]


BRACES = ["{b} {a}", "{topic}", "{input} {tools} {tool_names}", "}{ {{a}} {", '{"json": {a}}', "\\{a\\} $a %s"]


@pytest.mark.parametrize("text", BRACES)
@pytest.mark.parametrize("order", ["{a} | {b}", "{b} | {a}"])
def test_what_a_caller_wrote_reaches_the_model_as_it_is(own_crews: OwnCrews, text: str, order: str) -> None:
    own_crews.write("braces", inputs="a: {}, b: {}", text=f"<{order}>")
    model = ScriptedModel(lambda _: "done")
    given: dict[str, Any] = {"a": text, "b": f"b's {text}"}
    CrewRunner(lambda *_: model, Shelf()).run(JobInput(crew="braces", inputs=given), Unjournaled())
    expected = f"<{order}>".replace("{a}", "\0").replace("{b}", given["b"]).replace("\0", given["a"])
    assert expected in str(model.asked[0][-1]["content"])


def test_another_file_or_another_model_makes_another_crew(own_crews: OwnCrews) -> None:
    def fingerprint(**changes: str) -> str:
        own_crews.put(**changes)
        runner = CrewRunner(lambda name=None: ScriptedModel(), Shelf())
        return runner.fingerprint(JobInput(crew="tales", inputs={"topic": "ants"}))

    assert fingerprint() == fingerprint()
    assert len({fingerprint(), fingerprint(tasks=TASKS + "# more\n"), fingerprint(crew=CREW + "model: a/b\n")}) == 3


def test_a_keyless_model_that_replies_otherwise_makes_another_crew(
    own_crews: OwnCrews, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_crews.put()
    runner = CrewRunner(lambda name=None: ExtractiveLLM(model=ExtractiveLLM.NAME), Shelf())
    before = runner.fingerprint(JobInput(crew="tales", inputs={"topic": "ants"}))
    monkeypatch.setattr(ExtractiveLLM, "VERSION", ExtractiveLLM.VERSION + 1)
    assert runner.fingerprint(JobInput(crew="tales", inputs={"topic": "ants"})) != before


@pytest.mark.parametrize("name", ["research", "compare"])
def test_a_resumed_run_asks_nothing_again(clock: HandSetClock, own_crews: OwnCrews, name: str) -> None:
    shutil.copytree(ROOT / "docs/crews/compare", own_crews.folder / "compare")
    attempts = Attempts(clock)
    given = catalogue().card(name).inputs.sample()
    answers, paid = [], []
    for _ in range(2):
        runner = CrewRunner(lambda *_: ExtractiveLLM(model=ExtractiveLLM.NAME), EmbeddedRetriever())
        run = attempts.start()
        answers.append(runner.run(JobInput(crew=name, inputs=given), run))
        paid.append(len(attempts.journal))
    assert answers[0].text == answers[1].text
    assert answers[0].sources
    assert paid[0] == paid[1] > 3


def test_the_worked_example_compares_by_quoting_both_sides() -> None:
    definition = read_definition("compare", ROOT / "docs/crews/compare")
    given = definition.card.inputs.check({"first": "SQLite's rollback journal", "second": "neural networks"})
    outcomes = dry_run(definition, given, EmbeddedRetriever())
    assert [(outcome.task, outcome.agent) for outcome in outcomes] == [
        ("look_up_first", "Researcher"), ("look_up_second", "Researcher"), ("compare", "Editor")
    ]  # fmt: skip
    first, second, compared = (outcome.text for outcome in outcomes)
    assert "rollback journal" in first
    assert "neural network" in second
    for notes in (first, second):
        assert notes.splitlines()[0].removeprefix("- ") in compared
    assert catalogue().folder("compare") is None  # it ships under docs only
