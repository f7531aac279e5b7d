"""A project's memory: it lasts for the run, is journaled, and is no other run's."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Memory, Task
from crewai.memory.types import MemoryMatch

from crewrelay.crews.journal import durable
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.projects.faults import REFUSED_OF_PROJECTS
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.journal import Kind
from crewrelay.jobs.running.run import Run
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.runs import Attempts, reason

LONG = "Which towns are rainy, and what does Ann like? " * 6  # so long that a model is asked what to look for


@pytest.fixture(autouse=True)
def tuned(monkeypatch: pytest.MonkeyPatch, server: OpenAIServer) -> None:
    tune_crewai()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as server:
        yield server


def model() -> LLM:
    return LLM(model="openai/gpt-4o-mini")


def crew(**options: Any) -> Crew:
    """Of two tasks, so that the second one recalls what the first one's answer was."""
    agents: list[Any] = [
        Agent(role=role, goal="Welcome.", backstory="You know.", llm=model()) for role in ("Host", "Guest")
    ]
    tasks = [Task(description=f"{agent.role}: {LONG}", expected_output="A word.", agent=agent) for agent in agents]
    return Crew(agents=agents, tasks=tasks, **({"memory": True} | options))


class Cut(Exception):
    """The process dies."""


def cut_after(run: Run, calls: int, lost: list[Kind]) -> Run:
    """So many calls are journaled, then there are no more. `lost` are those whose replies died with the process."""
    call, left = run.call, iter(range(calls))

    def counted(kind: Kind, request: dict[str, Any], pay: Any) -> Any:
        def paid() -> Any:
            reply = pay()
            if next(left, None) is None:
                lost.append(kind)
                run.stop(Cut())
                raise Cut
            return reply

        return call(kind, request, paid)

    run.call = counted  # type: ignore[method-assign]
    return run


def ran(run: Run, made: Crew) -> str:
    """What becomes of the run, whatever the crew has caught."""
    with journaling(run), suppress(Exception):
        run.finish(Answer(text=made.kickoff().raw, usage=run.usage()))  # type: ignore[union-attr]
    return run.outcome.result(0).text


# ---- a run that is cut


def test_a_resumed_run_pays_nothing_twice_and_answers_the_same(attempts: Attempts, server: OpenAIServer) -> None:
    answer = ran(attempts.start(), crew())
    asked, embedded, journal = len(server.asked), len(server.embedded), attempts.journal
    assert "Relevant memories" in str(server.asked)
    run = attempts.start()
    assert ran(run, crew()) == answer
    assert run.usage().calls == asked
    assert (len(server.asked), len(server.embedded), attempts.journal) == (asked, embedded, journal)


def test_a_run_that_is_cut_after_each_call_asks_each_once(attempts: Attempts, server: OpenAIServer) -> None:
    """The reply that is lost with the process is the only one that is paid again."""
    answer = ran(attempts.start(), crew())
    asked, embedded = [str(body) for body in server.asked], list(map(str, server.embedded))
    for calls in range(len(attempts.journal)):
        server.asked.clear()
        server.embedded.clear()
        other = Attempts(attempts.clock)
        lost: list[Kind] = []
        with pytest.raises(Cut):
            ran(cut_after(other.start(), calls, lost), crew())
        attempts.clock.pass_(seconds=600)
        assert ran(other.start(), crew()) == answer
        assert sorted({str(body) for body in server.asked}) == sorted(set(asked)), calls
        assert len(server.asked) == len(asked) + lost.count(Kind.MODEL), calls
        assert len(server.embedded) == len(embedded) + lost.count(Kind.RETRIEVAL), calls


def saved(memory: Memory) -> list[Any]:
    memory.remember("Ulm is rainy.", scope="/a", categories=["towns"], importance=0.5)
    memory.remember_many(["Ann likes snow.", "Bob likes sun."])
    return [(record.id, record.created_at, record.content) for record in memory.list_records()]


def test_a_resumed_run_remembers_under_the_same_ids(attempts: Attempts, server: OpenAIServer) -> None:
    found = []
    for _ in range(2):
        with journaling(attempts.start()):
            found.append(saved(Memory(llm=model())))
    assert found[0] == found[1]
    assert [content for *_, content in found[0]] == ["Bob likes sun.", "Ann likes snow.", "Ulm is rainy."]


def test_a_resumed_run_recalls_the_same_however_old_it_is(
    attempts: Attempts, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[MemoryMatch]] = []
    for days in (0, 40):
        with journaling(attempts.start()):
            memory = Memory(llm=model(), recency_half_life_days=1)
            saved(memory)
            late = memory._config.model_copy(update={"recency_weight": 0.3 + days})
            monkeypatch.setattr(memory, "_config", late)  # it would score otherwise
            found.append(memory.recall("rainy towns"))
    assert found[0] == found[1]
    assert {match.record.content for match in found[0]} >= {"Ann likes snow."}


def test_an_embedding_is_paid_once(attempts: Attempts, server: OpenAIServer) -> None:
    for _ in range(2):
        with journaling(attempts.start()):
            memory = Memory(llm=model())
            record = memory.remember("Ulm is rainy.", scope="/a", categories=[], importance=0.5)
            assert record
            memory.update(record.id, content="Ulm is sunny.")
            assert memory.recall("sunny", depth="shallow")[0].record.content == "Ulm is sunny."
    assert server.embedded == [["Ulm is rainy."], ["Ulm is sunny."], ["sunny"]]


# ---- what is the run's


def test_runs_share_no_memories_and_write_none_to_the_disk(
    clock: Any, server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path / "storage"))
    monkeypatch.chdir(tmp_path)
    with journaling(Attempts(clock).start()):
        shared = Memory(llm=model())  # as of a module, which is imported once
    both, found = threading.Barrier(2), {}

    def remember(name: str) -> None:
        with journaling(Attempts(clock).start()):
            shared.remember(f"{name} likes rain.", scope="/", categories=[], importance=0.5)
            both.wait(60)
            found[name] = [match.record.content for match in shared.recall("Who likes rain?")]

    with ThreadPoolExecutor() as threads:
        list(threads.map(remember, ("Ann", "Bob")))
    assert found == {"Ann": ["Ann likes rain."], "Bob": ["Bob likes rain."]}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # modules of CrewAI's make the folder


def test_two_crews_at_once_know_only_their_own(clock: Any, server: OpenAIServer) -> None:
    def kickoff(name: str) -> str:
        with journaling(Attempts(clock).start()):
            memory = Memory(llm=model())
            memory.remember(f"{name} was here.", scope="/", categories=[], importance=0.5)
            crew(memory=memory).kickoff()
            return "\n".join(record.content for record in memory.list_records())

    with ThreadPoolExecutor() as threads:
        known = dict(zip(("Ann", "Bob"), threads.map(kickoff, ("Ann", "Bob")), strict=True))
    assert "Ann was here." in known["Ann"]
    assert "Bob was" not in known["Ann"]
    assert "Ann was" not in known["Bob"]


def test_what_is_saved_is_known_at_once(attempts: Attempts, server: OpenAIServer) -> None:
    """Also by another memory of the run, which CrewAI keeps in the same folder."""
    with journaling(attempts.start()):
        Memory(llm=model()).remember_many(["Ulm is rainy.", "Ann likes snow."])
        assert len(Memory(llm=model()).list_records()) == 2
        assert Memory(llm=model(), storage="another").list_records() == []


def test_a_memory_with_a_storage_of_its_own_is_refused(attempts: Attempts, server: OpenAIServer) -> None:
    class Own:
        def save(self, records: Any) -> None: ...

    own = Memory(llm=model(), storage=Own())  # type: ignore[arg-type]
    with journaling(attempts.start()):
        assert not list(durable.refused_options(crew(), REFUSED_OF_PROJECTS))
        assert not list(durable.refused_options(crew(memory=Memory().scope("/a")), REFUSED_OF_PROJECTS))
        ((option, who, _),) = durable.refused_options(crew(memory=own), REFUSED_OF_PROJECTS)
    assert (option, who) == ("memory", "the crew")
    run = attempts.start()
    with pytest.raises(Exception, match="outlasts the run"), journaling(run):
        own.recall("rain")
    assert "leave the storage out" in str(reason(run))


# ---- what fails


@pytest.mark.parametrize("status", [429, 401])
def test_an_embedder_that_fails_ends_the_run_instead_of_finding_nothing(
    attempts: Attempts, server: OpenAIServer, status: int
) -> None:
    server.not_embedding = status
    with pytest.raises(Exception, match="embedder of memory" if status == 429 else "401"):
        ran(attempts.start(), crew())
    server.not_embedding = None
    ran(attempts.start(), crew())
    assert "Relevant memories" in str(server.asked)


def test_a_model_that_fails_in_a_save_or_recall_is_not_journaled_as_its_result(
    attempts: Attempts, server: OpenAIServer
) -> None:
    works: list[Callable[[Memory], Any]] = [lambda one: one.remember("Ulm is rainy."), lambda one: one.recall(LONG)]
    for work in works:
        server.failing = 429
        run = attempts.start()
        with pytest.raises(Exception, match=r".*"), journaling(run):
            work(Memory(llm=model()))
        assert reason(run)
        assert not [call for call in attempts.journal if call.kind is Kind.TOOL]
        server.failing = None


def test_an_analysis_that_is_not_in_its_shape_is_done_without(
    attempts: Attempts, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CrewAI does: a small model must not fail the job."""
    from tests.support.doubles import openai_server as double

    for name in ("memories", "suggested_scope", "recall_queries", "insert_new"):
        monkeypatch.setitem(double._SHAPES, name, {"nothing": "of this"})
    answer = ran(attempts.start(), crew())
    asked = len(server.asked)
    assert ran(attempts.start(), crew()) == answer
    assert len(server.asked) == asked


# ---- tools, models, embedders


def test_an_agents_tools_remember_and_recall(attempts: Attempts, server: OpenAIServer) -> None:
    server.calling = [
        ("save_to_memory", {"contents": ["Ulm is rainy."]}),
        ("search_memory", {"queries": ["rainy towns", "Ulm"]}),
    ]
    answer = ran(attempts.start(), crew())
    asked, embedded = len(server.asked), len(server.embedded)
    said = [message["content"] for body in server.asked for message in body["messages"] if message["role"] == "tool"]
    assert "Saved to memory (scope=/crew/crew/weather, importance=0.5)." in said
    found = [text for text in said if text.startswith("Found memories")]
    assert len(found) == 2  # of each agent
    assert all("Ulm is rainy." in text for text in found)
    assert ran(attempts.start(), crew()) == answer
    assert (len(server.asked), len(server.embedded)) == (asked, embedded)


def test_what_a_tool_of_its_own_remembers_ends_the_run(attempts: Attempts, server: OpenAIServer) -> None:
    """A run that replays the tool would not know it."""
    from crewai.tools import tool

    run = attempts.start()
    with journaling(run):
        memory = Memory(llm=model())

        @tool
        def note(fact: str) -> str:
            """Notes it."""
            memory.remember(fact)
            return "noted"

        with pytest.raises(Exception, match="let the agent do it"):
            note.run(fact="Ulm is rainy.")
    assert "let the agent do it" in str(reason(run))


def test_a_memory_that_is_made_in_a_tool_is_the_tools(attempts: Attempts, server: OpenAIServer) -> None:
    from crewai.tools import tool

    @tool
    def note(fact: str) -> str:
        """Notes it."""
        memory = Memory(llm=model())
        memory.remember(fact)
        return memory.recall(fact)[0].record.content

    for _ in range(2):
        with journaling(attempts.start()):
            assert note.run(fact="Ulm is rainy.") == "Ulm is rainy."
            assert Memory(llm=model()).list_records() == []


def test_a_tool_that_is_called_again_does_not_know_what_it_remembered(attempts: Attempts, server: OpenAIServer) -> None:
    """It would not, either, if the first call were replayed."""
    from crewai.tools import tool

    @tool
    def note(fact: str) -> str:
        """Notes it."""
        memory = Memory(llm=model())
        known = [match.record.content for match in memory.recall(fact, depth="shallow")]
        memory.remember(fact)
        return str([known, len(memory.list_records())])

    with journaling(attempts.start()):
        assert [note.run(fact="Ulm is rainy.") for _ in range(2)] == ["[[], 1]"] * 2


def test_what_threads_save_is_in_the_same_order_in_a_replay(attempts: Attempts, server: OpenAIServer) -> None:
    found = []
    for contents in (["Ulm is rainy.", "Ann likes snow."], ["Ann likes snow.", "Ulm is rainy."]):
        with journaling(attempts.start()):
            memory = Memory(llm=model())
            for content in contents:
                memory.remember(content, scope="/", categories=[content], importance=0.5)
            found.append(([record.content for record in memory.list_records()], list(memory.list_categories())))
    assert found[0] == found[1]


def test_a_set_in_a_save_is_the_same_in_every_process(attempts: Attempts, server: OpenAIServer) -> None:
    run, asked = attempts.start(), list[Any]()
    call = run.call
    run.call = lambda kind, request, pay: asked.append(request) or call(kind, request, pay)  # type: ignore[method-assign, func-returns-value]
    tags = {f"tag {number}" for number in range(50)}
    with journaling(run):
        Memory(llm=model()).remember("Ulm is rainy.", scope="/", categories=[], metadata={"tags": tags}, importance=0.5)
    assert asked[0]["how"][0][2] == {"tags": sorted(tags)}


def test_a_memory_without_a_model_gets_that_of_the_settings(
    attempts: Attempts, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODEL", raising=False)
    with journaling(attempts.start(), default_model=lambda: LLM(model="openai/gpt-4o")):
        Memory().remember("Ulm is rainy.")
    assert [body["model"] for body in server.asked] == ["gpt-4o"]


def test_without_a_key_for_openai_the_embedder_of_searches_is_taken(
    attempts: Attempts, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = model()
    monkeypatch.delenv("OPENAI_API_KEY")
    with journaling(attempts.start()):
        memory = Memory(llm=named)
        memory.remember("Ulm is rainy.", scope="/", categories=[], importance=0.5)
        memory.remember("Ann likes cheese.", scope="/", categories=[], importance=0.5)
        assert memory.recall("What is the weather?", depth="shallow")[0].record.content == "Ulm is rainy."
    assert server.embedded == []
