"""A project's knowledge: each search is journaled, and nothing of it is shared between runs."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from chromadb import EmbeddingFunction
from crewai import LLM, Agent, Crew, Task
from crewai.knowledge.knowledge import Knowledge
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.rag.embeddings.providers.custom.embedding_callable import CustomEmbeddingFunction

from crewrelay.crews.journal import durable
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.projects.faults import REFUSED_OF_PROJECTS
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.records.journal import Kind
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.runs import Attempts, reason

FACT = "Ann likes rain."


class Letters(CustomEmbeddingFunction, EmbeddingFunction[Any]):
    """How often each letter occurs."""

    asked: ClassVar[list[str]] = []
    failing: ClassVar[BaseException | None] = None

    def __init__(self, **_: Any) -> None: ...

    def __call__(self, input: Any) -> Any:
        if Letters.failing:
            raise Letters.failing
        Letters.asked += input
        return [[float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in input]


EMBEDDER: Any = {"provider": "custom", "config": {"embedding_callable": Letters}}


@pytest.fixture(autouse=True)
def tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    tune_crewai()
    monkeypatch.setattr(Letters, "asked", [])
    monkeypatch.setattr(Letters, "failing", None)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as server:
        yield server


def crew(server: OpenAIServer, *, of_agent: bool = False) -> Crew:
    knowledge: Any = {"knowledge_sources": [StringKnowledgeSource(content=FACT)], "embedder": EMBEDDER}
    model = LLM(model="openai/gpt-4o-mini", base_url=server.url, api_key="none")
    agent = Agent(role="Host", goal="Welcome.", backstory="You know.", llm=model, **(knowledge if of_agent else {}))
    task = Task(description="What does Ann like? rain", expected_output="A word.", agent=agent)
    return Crew(agents=[agent], tasks=[task], **({} if of_agent else knowledge))


@pytest.mark.parametrize("of_agent", [False, True], ids=["of the crew", "of an agent"])
def test_a_resumed_run_embeds_nothing_and_finds_the_same(
    attempts: Attempts, server: OpenAIServer, of_agent: bool
) -> None:
    for _ in range(2):
        with journaling(attempts.start()):
            crew(server, of_agent=of_agent).kickoff()
    assert [call.kind for call in attempts.journal].count(Kind.RETRIEVAL) == 1
    assert Letters.asked[0] == FACT
    assert len(Letters.asked) == 2  # the source and the query, once
    assert len(server.asked) == 2  # what to search for, and the answer
    assert FACT in str(server.asked[1])


def test_a_search_that_fails_ends_the_run_instead_of_finding_nothing(attempts: Attempts, server: OpenAIServer) -> None:
    Letters.failing = ConnectionError("gone")
    run = attempts.start()
    with pytest.raises(Exception, match=r".*"), journaling(run):
        crew(server).kickoff()
    assert "search of knowledge" in str(reason(run))
    Letters.failing = None
    with journaling(attempts.start()):
        crew(server).kickoff()
    assert FACT in str(server.asked[-1])


def test_runs_share_nothing(attempts: Attempts, server: OpenAIServer) -> None:
    with journaling(attempts.start()):
        one, other = (Knowledge("crew", [StringKnowledgeSource(content=text)], EMBEDDER) for text in (FACT, "zzz"))
        for knowledge in (one, other):
            knowledge.add_sources()
        assert [found["content"] for found in one.query(["rain"], score_threshold=0)] == [FACT]
        assert [found["content"] for found in other.query(["rain"], score_threshold=0)] == ["zzz"]


def test_the_scores_are_those_of_crewais_own_store(attempts: Attempts) -> None:
    texts = ["rain", "rain and snow", "zzz", "Ann"]
    with journaling(attempts.start()):
        ours = Knowledge("one", [StringKnowledgeSource(content=text) for text in texts], EMBEDDER)
        ours.add_sources()
        found = ours.query(["rain"], results_limit=3, score_threshold=0.6)
    assert [one["content"] for one in found] == ["rain", "rain and snow", "Ann"]
    assert found[0]["score"] == pytest.approx(1.0)
    assert all(one["score"] >= 0.6 for one in found)


def test_knowledge_that_was_made_outside_of_a_run_is_refused(attempts: Attempts, server: OpenAIServer) -> None:
    made = Knowledge.model_construct(storage=None, sources=[])
    with journaling(attempts.start()):
        built = crew(server)
        assert not list(durable.refused_options(built, REFUSED_OF_PROJECTS))
        built.knowledge = made
        ((option, who, _),) = durable.refused_options(built, REFUSED_OF_PROJECTS)
    assert (option, who) == ("knowledge", "the crew")
