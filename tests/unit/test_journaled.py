"""Model, tools and retrieval of a crew with the journal in between: the second time nobody is asked."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import LLMCallCompletedEvent, LLMCallStartedEvent
from crewai.llms.base_llm import BaseLLM, call_stop_override
from crewai.tools import BaseTool
from openai.types.chat import ChatCompletionMessageToolCall
from pydantic import BaseModel, PrivateAttr

from crewrelay.crews.extractive import ExtractiveLLM
from crewrelay.crews.journaled import JournaledLLM, JournaledRetriever, JournaledTool, ToolFailed
from crewrelay.jobs.answer import Passage
from crewrelay.jobs.errors import BudgetExceeded
from crewrelay.jobs.journal import Kind
from crewrelay.jobs.policy import Budget
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.run import RunStopped
from tests.conftest import HandSetClock
from tests.unit.runs import POLICY, Attempts, reason

PATIENCE = 10  # seconds until a test that hangs gives up
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


class City(BaseModel):
    name: str
    people: int


class Model(BaseLLM):
    """Does what its script says, keeps what it was asked, and counts as the models of providers do."""

    _script: Callable[[str], Any] = PrivateAttr()
    _asked: list[str] = PrivateAttr()
    _stops: list[list[str]] = PrivateAttr()

    def __init__(self, script: Callable[[str], Any] = lambda message: f"about {message}") -> None:
        super().__init__(model="scripted/one")
        self._script, self._asked, self._stops = script, [], []

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        self._asked.append(messages)
        self._stops.append(self.stop_sequences)
        self._token_usage["prompt_tokens"] += len(messages)
        reply = self._script(messages)
        self._token_usage["completion_tokens"] += 1
        return reply

    def supports_function_calling(self) -> bool:
        return True

    def supports_stop_words(self) -> bool:
        return False

    def get_context_window_size(self) -> int:
        return 1000  # of which CrewAI lets a tool's result take a quarter: 1,000 characters


class Weather(BaseTool):
    """Does what its script says, and keeps for what city it was asked."""

    name: str = "weather"
    description: str = "Tells the weather of a city."
    _script: Callable[[str], str] = PrivateAttr()
    _asked: list[str] = PrivateAttr()

    def __init__(self, script: Callable[[str], str] = lambda city: f"rain in {city}") -> None:
        super().__init__()  # type: ignore[call-arg]  # name and description are class attributes
        self._script, self._asked = script, []

    def _run(self, city: str) -> str:
        self._asked.append(city)
        return self._script(city)


class Shelf:
    """A retriever."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def retrieve(self, query: str, top_k: int = 5) -> list[Passage]:
        self.asked.append((query, top_k))
        return [Passage(id="p1", title="One", url="https://example.org", text=f"On {query} \ud83d.", score=0.5)]


@pytest.fixture
def attempts(clock: HandSetClock) -> Attempts:
    return Attempts(clock)


def tool_of(weather: Weather, calls: Calls) -> JournaledTool:
    return JournaledTool(weather, JournaledLLM(Model(), calls), calls)


# ---- the model


@pytest.mark.parametrize(
    ("reply", "response_model", "given"),
    [
        ("Rain. 🌧", None, "Rain. 🌧"),
        ("", None, ""),
        (City(name="Ulm", people=126_000), City, City(name="Ulm", people=126_000)),
        ('{"name": "Ulm", "people": 126000}', City, '{"name": "Ulm", "people": 126000}'),
        (
            [
                ChatCompletionMessageToolCall.model_validate(
                    {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
                )
            ],
            None,
            [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}],
        ),
    ],
    ids=["text", "no text", "a structured answer", "a structured answer as text", "native tool calls"],
)
def test_a_resumed_crew_is_told_just_what_the_first_one_was(
    attempts: Attempts, reply: Any, response_model: type[BaseModel] | None, given: Any
) -> None:
    model = Model(lambda _: reply)
    told = [
        JournaledLLM(model, attempts.start()).call("What now?", tools=TOOLS, response_model=response_model)
        for _ in range(3)
    ]
    assert told == [given] * 3
    assert [type(answer) for answer in told] == [type(given)] * 3
    assert model._asked == ["What now?"]


def test_another_question_tool_schema_or_stop_word_is_another_call(attempts: Attempts) -> None:
    model = Model()
    for run in (attempts.start(), attempts.start()):
        journaled = JournaledLLM(model, run)
        journaled.call("one")
        journaled.call("two")
        journaled.call("one", tools=TOOLS)
        journaled.call("one", response_model=City)
        with call_stop_override(journaled, ["Observation:"]):
            journaled.call("one")
    assert model._asked == ["one", "two", "one", "one", "one"]
    assert model._stops == [[], [], [], [], ["Observation:"]]


def test_tokens_are_counted_call_by_call_though_calls_run_side_by_side(attempts: Attempts) -> None:
    together = Barrier(2)

    def script(message: str) -> str:
        together.wait(PATIENCE)  # both have counted their prompts, and neither its completion
        return message

    model, run = Model(script), attempts.start()
    journaled = JournaledLLM(model, run)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(journaled.call, ["x" * 100, "x" * 7]))
    assert {(call.reply.prompt_tokens, call.reply.completion_tokens) for call in attempts.journal} == {(100, 1), (7, 1)}
    assert (run.usage().model, run.usage().calls, run.usage().prompt_tokens) == ("scripted/one", 2, 107)
    assert journaled.get_token_usage_summary().total_tokens == 109
    assert model.get_token_usage_summary().total_tokens == 0  # the original only lends its client


def test_what_is_replayed_counts_for_the_crew_as_what_was_paid(attempts: Attempts) -> None:
    models = [JournaledLLM(Model(), attempts.start()) for _ in range(2)]
    for model in models:
        model.call("x" * 100)
    paid, replayed = (model.get_token_usage_summary() for model in models)
    assert replayed == paid
    assert (paid.prompt_tokens, paid.completion_tokens, paid.successful_requests) == (100, 1, 1)


@pytest.mark.parametrize("tools", [None, TOOLS], ids=["text", "tool calls"])
def test_crewais_listeners_hear_of_a_replayed_call_what_they_heard_of_the_paid_one(
    attempts: Attempts, tools: Any
) -> None:
    heard: list[tuple[Any, ...]] = []
    calls: list[str | None] = []
    with crewai_event_bus.scoped_handlers():

        @crewai_event_bus.on(LLMCallStartedEvent)
        def started(source: Any, event: LLMCallStartedEvent) -> None:
            calls.append(event.call_id)
            heard.append((event.messages, event.tools))

        @crewai_event_bus.on(LLMCallCompletedEvent)
        def completed(source: Any, event: LLMCallCompletedEvent) -> None:
            calls.append(event.call_id)
            heard.append((event.messages, event.response, event.call_type))

        for run in (attempts.start(), attempts.start()):
            JournaledLLM(ExtractiveLLM(model=ExtractiveLLM.NAME), run).call("Topic: rain", tools)
            assert crewai_event_bus.flush(PATIENCE)
    assert len(heard) == 4
    assert heard[2:] == heard[:2]
    assert calls[0] == calls[1] != calls[2] == calls[3]


@pytest.mark.parametrize("error", [TimeoutError("too slow"), ValueError("no such model")])
def test_a_model_that_fails_stops_the_run_whatever_crewai_makes_of_it(attempts: Attempts, error: Exception) -> None:
    def script(_: str) -> str:
        raise error

    run = attempts.start()
    with pytest.raises(type(error)):
        JournaledLLM(Model(script), run).call("one")
    assert reason(run) is error
    assert attempts.journal == []


def test_a_conversation_that_is_too_long_may_be_shortened_and_asked_again(attempts: Attempts) -> None:
    def script(message: str) -> str:
        if message == "long":
            raise ValueError("This model's maximum context length is 1000 tokens.")
        return "rain"

    run = attempts.start()
    journaled = JournaledLLM(Model(script), run)
    with pytest.raises(ValueError, match="maximum context length"):
        journaled.call("long")
    assert not run.outcome.done()
    assert journaled.call("short") == "rain"


def test_a_budget_that_is_spent_is_the_reason_whatever_the_crew_does_then(attempts: Attempts) -> None:
    run = attempts.start(POLICY.model_copy(update={"budget": Budget(calls=1)}))
    journaled = JournaledLLM(Model(), run)
    journaled.call("one")
    for _ in range(2):
        with pytest.raises(RunStopped):
            journaled.call("two")
    assert isinstance(reason(run), BudgetExceeded)


def test_a_journaled_model_can_do_what_its_model_can(attempts: Attempts) -> None:
    journaled = JournaledLLM(Model(), attempts.start())
    assert journaled.supports_function_calling()
    assert not journaled.supports_stop_words()
    assert not journaled.supports_multimodal()
    assert journaled.get_context_window_size() == 1000
    assert journaled.get_input_tokens_count("x" * 400) == 100


# ---- tools


def test_a_tool_is_to_the_model_what_it_was_before(attempts: Attempts) -> None:
    weather = Weather()
    tool = tool_of(weather, attempts.start())
    assert (tool.name, tool.description, tool.args_schema) == (weather.name, weather.description, weather.args_schema)


def test_a_tools_result_is_replayed_for_the_same_arguments_only(attempts: Attempts) -> None:
    weather = Weather()
    for run in (attempts.start(), attempts.start()):
        assert [tool_of(weather, run).run(city=city) for city in ("Ulm", "Bonn")] == ["rain in Ulm", "rain in Bonn"]
    assert weather._asked == ["Ulm", "Bonn"]


def test_a_tools_failure_is_journaled_and_told_again_in_the_same_words(attempts: Attempts) -> None:
    def script(city: str) -> str:
        raise ValueError(f"no city {city}")

    weather = Weather(script)
    for run in (attempts.start(), attempts.start()):
        with pytest.raises(ToolFailed, match=r"^ValueError: no city Ulm$"):
            tool_of(weather, run).run(city="Ulm")
        assert not run.outcome.done()  # the model may try something else
    assert weather._asked == ["Ulm"]


def test_an_error_of_a_tool_that_may_pass_stops_the_run_and_the_next_one_asks_again(attempts: Attempts) -> None:
    answers: list[Any] = [TimeoutError("too slow"), "rain at last"]

    def script(_: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    weather, first = Weather(script), attempts.start()
    with pytest.raises(TimeoutError):
        tool_of(weather, first).run(city="Ulm")
    assert isinstance(reason(first), TimeoutError)
    assert attempts.journal == []
    assert tool_of(weather, attempts.start()).run(city="Ulm") == "rain at last"


@pytest.mark.parametrize("fails", [False, True], ids=["a result", "a failure"])
@pytest.mark.parametrize("length", [990, 1001, 100_000])
def test_a_result_that_is_too_long_for_the_model_is_cut_once_and_for_all(
    attempts: Attempts, length: int, fails: bool
) -> None:
    def script(_: str) -> str:
        if fails:
            raise ValueError("x" * length)
        return "x" * length

    def told(weather: Weather) -> str:
        try:
            return str(tool_of(weather, attempts.start()).run(city="Ulm"))
        except ToolFailed as failed:
            return str(failed).removeprefix("ValueError: ")

    weather = Weather(script)
    first = told(weather)
    assert first.rstrip("x") == ("" if length == 990 and not fails else first[len(first.rstrip("]")) :] and first)
    assert told(weather) == first


# ---- retrieval


def test_a_resumed_run_works_from_the_passages_that_the_first_one_found(attempts: Attempts) -> None:
    shelf = Shelf()
    found = [JournaledRetriever(shelf, attempts.start()).retrieve("rain", 3) for _ in range(2)]
    assert found[0] == found[1] == shelf.retrieve("rain", 3)
    assert shelf.asked == [("rain", 3)] * 2  # the run's, and that of the line above
    run = attempts.start()
    JournaledRetriever(shelf, run).retrieve("rain", 4)
    JournaledRetriever(shelf, run).retrieve("snow", 3)
    assert shelf.asked[2:] == [("rain", 4), ("snow", 3)]
    assert {call.kind for call in attempts.journal} == {Kind.RETRIEVAL}


def test_an_index_that_fails_stops_the_run(attempts: Attempts) -> None:
    class Broken(Shelf):
        def retrieve(self, query: str, top_k: int = 5) -> list[Passage]:
            raise OSError("the index is gone")

    run = attempts.start()
    with pytest.raises(OSError, match="gone"):
        JournaledRetriever(Broken(), run).retrieve("rain")
    assert isinstance(reason(run), OSError)
