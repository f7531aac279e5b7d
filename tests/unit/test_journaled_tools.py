"""A crew's tools and its retrieval with the journal in between: what they found or how they failed is told again."""

from datetime import timedelta
from typing import Any

import pytest
from crewai.tools import BaseTool
from crewai.tools.tool_failure import ToolFailure

from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.journal.journaled_tools import JournaledRetriever, JournaledTool, ToolFailed
from crewrelay.crews.models.failures import ToolUnavailable, explain
from crewrelay.crews.passages.citations import Bibliography
from crewrelay.jobs.errors import RetrievalUnavailable
from crewrelay.jobs.ports import Calls, RelayDue
from crewrelay.jobs.records.answer import Passage
from crewrelay.jobs.records.journal import Kind, Reply, digest_of
from tests.support.doubles.crew import ScriptedModel, Weather
from tests.support.runs import POLICY, Attempts, reason

FOUND = [
    Passage(id="p1", title="One", url="https://example.org/1", text="It rains 🌧.", excerpt="rains", score=0.5, number=1)
]
LONGEST = 1000  # characters that the scripted model takes of a tool's result


class Shelf:
    """A retriever that always finds the same."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        self.asked.append((query, top_k))
        return FOUND


def tool_of(weather: Weather, calls: Calls) -> JournaledTool:
    return JournaledTool(weather, JournaledLLM(ScriptedModel(), calls), calls)


def failing(error: Exception) -> Weather:
    def script(_: str) -> str:
        raise error

    return Weather(script)


def test_a_tool_is_to_the_model_what_it_was_before(attempts: Attempts) -> None:
    weather = Weather()
    tool = tool_of(weather, attempts.start())
    assert (tool.name, tool.description, tool.args_schema) == (weather.name, weather.description, weather.args_schema)


def test_a_result_is_told_again_for_the_same_arguments_only(attempts: Attempts) -> None:
    weather = Weather()
    for _ in range(2):
        tool = tool_of(weather, attempts.start())
        assert [tool.run(city=city) for city in ("Ulm", "Bonn")] == ["rain in Ulm", "rain in Bonn"]
    assert weather.asked == ["Ulm", "Bonn"]


def test_a_failure_is_told_again_in_the_same_words(attempts: Attempts) -> None:
    weather = failing(ValueError("no such city"))
    for _ in range(2):
        run = attempts.start()
        with pytest.raises(ToolFailed, match=r"^ValueError: no such city$"):
            tool_of(weather, run).run(city="Ulm")
        assert not run.outcome.done()  # the model may try something else
    assert weather.asked == ["Ulm"]


def test_a_failure_that_may_pass_stops_the_run_and_the_next_one_asks_again(attempts: Attempts) -> None:
    run, error = attempts.start(), TimeoutError("too slow")
    with pytest.raises(ToolUnavailable):
        tool_of(failing(error), run).run(city="Ulm")
    stopped_by = reason(run)
    assert stopped_by
    assert stopped_by.__cause__ is error
    failure = explain(stopped_by)
    # It counts as an attempt, for what the model asks the tool for may not exist: only services are waited for.
    assert (failure.type, failure.retryable, failure.outage) == ("TimeoutError", True, False)
    assert attempts.journal == []
    assert tool_of(Weather(), attempts.start()).run(city="Ulm") == "rain in Ulm"


def test_a_failure_that_does_not_pass_until_the_last_attempt_is_told_to_the_model(attempts: Attempts) -> None:
    """As CrewAI does it: the model may have made up the host that does not answer."""
    weather = failing(TimeoutError("too slow"))
    for _ in range(POLICY.max_attempts - 1):
        with pytest.raises(ToolUnavailable):
            tool_of(weather, attempts.start()).run(city="Ulm")
    run = attempts.start()
    with pytest.raises(ToolFailed, match=r"^TimeoutError: too slow$"):
        tool_of(weather, run).run(city="Ulm")
    assert not run.outcome.done()


def test_a_failure_that_a_tool_reports_is_one_the_second_time_too(attempts: Attempts) -> None:
    def reports(_: str) -> Any:
        return ToolFailure(message="no such city", code="404")

    weather = Weather(reports)
    told = [tool_of(weather, attempts.start()).run(city="Ulm") for _ in range(2)]
    assert told == [ToolFailure(message="no such city", code="404")] * 2
    assert weather.asked == ["Ulm"]


def test_arguments_without_an_order_are_the_same_call_in_every_process(attempts: Attempts) -> None:
    class Cities(BaseTool):
        name: str = "cities"
        description: str = "Counts cities."

        def _run(self, names: frozenset[str]) -> str:
            return str(len(names))

    cities = Cities()
    names = {f"city {number}" for number in range(20)}
    JournaledTool(cities, JournaledLLM(ScriptedModel(), run := attempts.start()), run)._run(names=names)
    (call,) = attempts.journal
    request = {"tool": "cities", "arguments": {"names": sorted(names)}}
    assert call.digest == digest_of("crew-1", Kind.TOOL, request)


def test_a_tool_that_would_end_the_process_ends_the_run_instead(attempts: Attempts) -> None:
    def script(_: str) -> str:
        raise SystemExit(3)

    run = attempts.start()
    with pytest.raises(SystemExit):
        tool_of(Weather(script), run).run(city="Ulm")
    assert isinstance(reason(run), SystemExit)


@pytest.mark.parametrize("length", [0, 1, LONGEST])
def test_a_result_that_the_model_can_take_is_left_whole(attempts: Attempts, length: int) -> None:
    assert tool_of(Weather(lambda _: "x" * length), attempts.start()).run(city="Ulm") == "x" * length


@pytest.mark.parametrize("fails", [False, True], ids=["a result", "a failure"])
@pytest.mark.parametrize("length", [LONGEST + 1, 100_000])
def test_what_is_too_long_for_the_model_is_cut_once_and_for_all(attempts: Attempts, length: int, fails: bool) -> None:
    text = "".join(str(n % 10) for n in range(length))
    weather = failing(ValueError(text)) if fails else Weather(lambda _: text)

    def told() -> str:
        try:
            return str(tool_of(weather, attempts.start()).run(city="Ulm"))
        except ToolFailed as failed:
            return str(failed)

    first = told()
    kept, remark = first.rsplit("\n", 1)
    assert text.startswith(kept.removeprefix("ValueError: "))
    assert "left out" in remark
    assert LONGEST * 0.8 < len(first) <= LONGEST
    assert told() == first
    assert weather.asked == ["Ulm"]


def test_a_resumed_run_works_from_the_passages_that_the_first_one_found(attempts: Attempts) -> None:
    shelf = Shelf()
    for _ in range(2):
        retriever = JournaledRetriever(shelf, attempts.start(), Bibliography())
        assert [retriever.retrieve(*asked) for asked in (("rain", 3), ("rain", 4), ("snow", 3))] == [FOUND] * 3
    assert shelf.asked == [("rain", 3), ("rain", 4), ("snow", 3)]
    assert {call.kind for call in attempts.journal} == {Kind.RETRIEVAL}


def test_what_a_memory_or_knowledge_has_asked_is_no_passage_of_the_crews(attempts: Attempts) -> None:
    """As of a crew within a tool."""
    shelf, vectors, found = (
        Shelf(),
        '["AACAPw=="]',
        '[{"id": "a", "content": "It rains.", "metadata": {}, "score": 0.5}]',
    )
    run = attempts.start()
    run.call(Kind.RETRIEVAL, {"embed": ["rain"]}, lambda: Reply(body=vectors))
    run.call(Kind.RETRIEVAL, {"knowledge": "", "query": "rain"}, lambda: Reply(body=found))
    for _ in range(2):
        assert JournaledRetriever(shelf, attempts.start(), Bibliography()).retrieve("rain") == FOUND
    assert shelf.asked == [("rain", 5)]


def test_an_index_that_fails_stops_the_run(attempts: Attempts) -> None:
    class Broken:
        def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> Any:
            raise OSError("the index is gone")

    run = attempts.start()
    with pytest.raises(OSError, match="gone"):
        JournaledRetriever(Broken(), run, Bibliography()).retrieve("rain")
    assert isinstance(reason(run), OSError)


@pytest.mark.parametrize(("takes", "raised"), [(10, RelayDue), (0.5, RetrievalUnavailable)])
def test_a_search_has_what_remains_of_the_run_and_one_that_is_cut_short_is_no_error(
    attempts: Attempts, takes: float, raised: type[Exception]
) -> None:
    class Silent:
        given = timedelta()

        def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
            assert timeout
            self.given = timeout
            attempts.clock.pass_(seconds=min(takes, timeout.total_seconds()))
            raise RetrievalUnavailable("did not answer")

    silent, run = Silent(), attempts.start(seconds=5)
    expected = run.remaining
    with pytest.raises(raised):
        JournaledRetriever(silent, run, Bibliography()).retrieve("rain")
    assert silent.given == expected < timedelta(seconds=5)
    assert isinstance(reason(run), raised)
