"""Which crews can be resumed, what is said of the others, and when a resumed crew is another one."""

import hashlib
import importlib.metadata
import threading
from datetime import timedelta
from typing import Any

import pytest
from crewai import Agent, Crew, Process, Task
from crewai.tools import BaseTool

from crewrelay.crews.journal import durable
from crewrelay.crews.journal.durable import fingerprint, make_durable
from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.journal.journaled_tools import JournaledRetriever, JournaledTool
from crewrelay.crews.passages.citations import Bibliography
from crewrelay.crews.passages.search import SearchPassages
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.log_keys import log_keys, logged_with
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Passage
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.running.execution import on_own_thread
from crewrelay.retrieval.embedded.collections import EmbeddedRetriever
from crewrelay.testing import Unjournaled
from tests.support.doubles.crew import ScriptedModel, Weather, weather_call
from tests.support.fixtures import HandSetClock
from tests.support.runs import Attempts


@pytest.fixture(autouse=True)
def tuned() -> None:
    tune_crewai()


@pytest.fixture
def calls() -> Unjournaled:
    return Unjournaled()


def journaled(calls: Calls, model: ScriptedModel | None = None) -> JournaledLLM:
    return JournaledLLM(model or ScriptedModel(), calls)


def crew_of(
    calls: Calls,
    *,
    model: ScriptedModel | None = None,
    agent: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
    **options: Any,
) -> Crew:
    """A forecaster with one task; the rest is up to a test."""
    known: dict[str, Any] = {
        "role": "Forecaster",
        "goal": "Forecast.",
        "backstory": "You look up.",
        "max_retry_limit": 0,
    }
    forecaster = Agent(**{**known, "llm": journaled(calls, model), **(agent or {})})
    wanted: dict[str, Any] = {"description": "Tell the weather.", "expected_output": "A sentence.", "agent": forecaster}
    return Crew(agents=[forecaster], tasks=[Task(**{**wanted, **(task or {})})], **options)


# ---- refusals


@pytest.mark.parametrize(
    ("options", "fault", "remedy"),
    [
        ({"planning": True}, "planning of the crew makes other prompts", "remove it"),
        ({"memory": True}, "memory of the crew is not the same", "remove it"),
        ({"stream": True}, "nobody reads its stream", "remove stream=True"),
        (
            {"agent": {"function_calling_llm": ScriptedModel()}},
            "function_calling_llm of Forecaster",
            "build it with new_model()",
        ),
        (
            {"manager_llm": ScriptedModel(), "process": Process.hierarchical},
            "the manager's model is not journaled",
            "build it with new_model()",
        ),
        ({"agent": {"memory": True}}, "memory of Forecaster is not the same", "remove it"),
        ({"agent": {"llm": ScriptedModel()}}, "the model of Forecaster is not journaled", "build it with new_model()"),
        ({"agent": {"inject_date": True}}, "inject_date of Forecaster", "remove it"),
        ({"agent": {"planning": True}}, "planning of Forecaster makes other prompts", "remove it"),
        ({"agent": {"mcps": ["https://mcp.example"]}}, "mcps of Forecaster asks services", "remove it"),
    ],
    ids=[
        "a planning crew",
        "a crew with a memory",
        "a stream",
        "another model for function calls",
        "another manager's model",
        "an agent with a memory",
        "another model",
        "a date",
        "a planning agent",
        "a server of tools",
    ],
)
def test_a_crew_that_can_not_be_resumed_is_refused_with_the_remedy(
    calls: Unjournaled, options: dict[str, Any], fault: str, remedy: str
) -> None:
    with pytest.raises(InvalidCrew) as refused:
        make_durable(crew_of(calls, **options), calls)
    message = str(refused.value)
    assert fault in message
    assert message.endswith(f": {remedy}.")


def test_a_managers_model_is_to_be_journaled_as_any_agents(calls: Unjournaled) -> None:
    boss: dict[str, Any] = {"role": "Boss", "goal": "Manage.", "backstory": "You know."}
    options: dict[str, Any] = {"process": Process.hierarchical}
    make_durable(crew_of(calls, manager_agent=Agent(**boss, llm=journaled(calls)), **options), calls)
    with pytest.raises(InvalidCrew, match="the model of Boss is not journaled"):
        make_durable(crew_of(calls, manager_agent=Agent(**boss, llm=ScriptedModel()), **options), calls)


def test_all_that_is_wrong_is_said_at_once(calls: Unjournaled) -> None:
    crew = crew_of(calls, agent={"inject_date": True, "llm": ScriptedModel()}, planning=True)
    with pytest.raises(InvalidCrew) as refused:
        make_durable(crew, calls)
    assert str(refused.value).count(";") == 2


def test_a_refused_crew_is_left_as_it_was(calls: Unjournaled) -> None:
    weather = Weather()
    crew = crew_of(calls, agent={"tools": [weather]}, planning=True)
    with pytest.raises(InvalidCrew):
        make_durable(crew, calls)
    assert crew.agents[0].tools == [weather]


# ---- tools


def test_every_tool_of_an_agent_and_of_a_task_is_journaled_once(calls: Unjournaled) -> None:
    crew = crew_of(calls, agent={"tools": [Weather()]}, task={"tools": [Weather()]})
    assert make_durable(crew, calls) is crew
    (of_agent,), (of_task,) = crew.agents[0].tools or [], crew.tasks[0].tools or []
    assert (type(of_agent), type(of_task)) == (JournaledTool, JournaledTool)
    make_durable(crew, calls)
    assert crew.agents[0].tools == [of_agent]
    assert crew.tasks[0].tools == [of_task]


def test_the_search_is_left_as_it_is_for_it_journals_its_passages(calls: Unjournaled) -> None:
    search = SearchPassages(JournaledRetriever(EmbeddedRetriever(), calls, known := Bibliography()), known)
    tools: list[BaseTool] = [search]
    crew = make_durable(crew_of(calls, agent={"tools": tools}), calls)
    assert crew.agents[0].tools == [search]


def test_a_resumed_crew_asks_neither_its_model_nor_its_tools_again(clock: HandSetClock) -> None:
    def script(messages: Any) -> Any:
        asked_already = any(message["role"] == "tool" for message in messages)
        return "It rains in Ulm." if asked_already else weather_call("Ulm")

    attempts, weather, model = Attempts(clock), Weather(), ScriptedModel(script)
    told = []
    for _ in range(2):
        run = attempts.start()
        crew = make_durable(crew_of(run, model=model, agent={"tools": [weather]}), run)
        told.append(crew.kickoff().raw)  # type: ignore[union-attr]  # it does not stream
    assert told == ["It rains in Ulm."] * 2
    assert (len(model.asked), weather.asked) == (2, ["Ulm"])
    assert len(attempts.journal) == 3


def test_an_agent_that_only_a_task_names_is_checked_and_journaled_too(calls: Unjournaled) -> None:
    def crew(**options: Any) -> Crew:
        other = Agent(**{"role": "Other", "goal": "Help.", "backstory": "You help.", **options})
        task = Task(description="Help.", expected_output="Help.", agent=other)
        return Crew(agents=[], tasks=[task])

    with pytest.raises(InvalidCrew, match="inject_date of Other"):
        make_durable(crew(llm=journaled(calls), inject_date=True), calls)
    durable_crew = make_durable(crew(llm=journaled(calls), tools=[Weather()]), calls)
    assert durable_crew.tasks[0].agent
    assert [type(tool) for tool in durable_crew.tasks[0].agent.tools or []] == [JournaledTool]


def test_the_tools_of_a_task_that_a_manager_gives_away_are_journaled(calls: Unjournaled) -> None:
    crew = crew_of(
        calls, task={"agent": None, "tools": [Weather()]}, process=Process.hierarchical, manager_llm=journaled(calls)
    )
    make_durable(crew, calls)
    assert [type(tool) for tool in crew.tasks[0].tools or []] == [JournaledTool]


# ---- fingerprint

ONE = ("research", "its files", "openai/one at None")


def test_the_same_crew_with_the_same_model_is_the_same() -> None:
    assert fingerprint(*ONE) == fingerprint(*ONE)


@pytest.mark.parametrize(
    "other",
    [
        ("other", "its files", "openai/one at None"),
        ("research", "other files", "openai/one at None"),
        ("research", "its files", "openai/two at None"),
        ("research", "its files", "openai/one at https://models.example"),
        ("researchits", " files", "openai/one at None"),
    ],
)
def test_another_crew_or_another_model_is_another(other: tuple[str, str, str]) -> None:
    assert fingerprint(*other) != fingerprint(*ONE)


def test_another_release_of_crewai_makes_another_crew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(*ONE)
    monkeypatch.setattr(durable, "version", lambda _: importlib.metadata.version("crewai") + ".1")
    assert fingerprint(*ONE) != before


def test_other_prompts_make_another_crew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(*ONE)
    monkeypatch.setattr(durable, "PROMPT_VERSION", durable.PROMPT_VERSION + 1)
    assert fingerprint(*ONE) != before


def test_other_code_that_asks_the_same_is_the_same_crew() -> None:
    """A changed comment must not have jobs in flight start afresh."""
    versions = f"crewai {importlib.metadata.version('crewai')}\nprompts {durable.PROMPT_VERSION}"
    known = f"research\nits files\nopenai/one at None\n{versions}"
    assert fingerprint(*ONE) == hashlib.sha256(known.encode()).hexdigest()[:16]


# ---- the log


def test_a_call_has_the_log_keys_of_its_job_on_whichever_thread_crewai_makes_it() -> None:
    made: list[tuple[str, dict[str, Any]]] = []

    def script(messages: Any) -> str:
        made.append((threading.current_thread().name, dict(log_keys())))
        return "Final Answer: sun"

    run = Unjournaled()
    crew = crew_of(run, model=ScriptedModel(script), task={"async_execution": True})
    crew.tasks.append(Task(description="Sum up.", expected_output="A word.", agent=crew.agents[0]))
    with logged_with(job_id="j-1", correlation_id="c-1"):
        on_own_thread(make_durable(crew, run).kickoff, name="crew-j-1").result(10)
    assert "crew-j-1" not in [thread for thread, _ in made]
    assert [keys for _, keys in made] == [{"job_id": "j-1", "correlation_id": "c-1"}] * 2


def test_passages_keep_their_numbers_whichever_of_two_searches_is_answered_first(clock: HandSetClock) -> None:
    """CrewAI makes the calls of one reply side by side."""

    class Shelf:
        def __init__(self, last: str) -> None:
            self._last, self._other = last, threading.Event()

        def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
            if query == self._last:
                assert self._other.wait(10)
            else:
                self._other.set()
            return [Passage(id=query, title=query, url="u", text=f"About {query}.", excerpt=f"About {query}.")]

    def script(messages: Any) -> Any:
        if not any(message["role"] == "tool" for message in messages) and "Search the collection" in str(messages):
            return [
                {"id": f"call_{query}", "type": "function", "function": {"name": "search_passages", "arguments": text}}
                for query, text in (("one", '{"query": "one"}'), ("two", '{"query": "two"}'))
            ]
        return "It is so [1]."

    attempts, model = Attempts(clock), ScriptedModel(script)
    answers = []
    for last in ("one", "two"):  # of the replay nobody is asked, so its searches are answered in their own order
        runner = CrewRunner(lambda *_: model, Shelf(last))
        job_input = JobInput(crew="research", inputs={"topic": "it", "language": "en"})
        answers.append(runner.run(job_input, attempts.start()))
    assert len(model.asked) == 3
    assert [source.id for source in answers[0].sources] == ["two"]
    assert answers[0] == answers[1]
