"""A crew's model with the journal in between: the second time nobody is asked, and nobody can tell."""

import copy
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import LLMCallCompletedEvent, LLMCallStartedEvent
from crewai.llms.base_llm import call_stop_override
from openai.types.chat import ChatCompletionMessageToolCall
from pydantic import BaseModel

from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.journal.replies import MisshapenReply
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.jobs.errors import BudgetExceeded
from crewrelay.jobs.ports import RelayDue
from crewrelay.jobs.records.policy import Budget
from crewrelay.jobs.running.run import Run, RunStopped
from tests.support.doubles.crew import ScriptedModel, weather_call
from tests.support.runs import POLICY, Attempts, reason

TIMEOUT = 10  # seconds until a test that hangs gives up
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


class City(BaseModel):
    name: str
    people: int


ULM = City(name="Ulm", people=126_000)


@pytest.mark.parametrize(
    ("reply", "response_model", "given"),
    [
        ("Rain. 🌧", None, "Rain. 🌧"),
        ("half a pair: \ud83d", None, "half a pair: \ud83d"),
        ("", None, ""),
        (ULM, City, ULM),
        (ULM.model_dump_json(), City, ULM.model_dump_json()),
        ([ChatCompletionMessageToolCall.model_validate(weather_call("Ulm")[0])], None, weather_call("Ulm")),
    ],
    ids=["text", "half a character", "no text", "a structured answer", "a structured answer as text", "tool calls"],
)
def test_a_resumed_crew_is_told_just_what_the_first_one_was(
    attempts: Attempts, reply: Any, response_model: type[BaseModel] | None, given: Any
) -> None:
    model = ScriptedModel(lambda _: reply)
    told = [
        JournaledLLM(model, attempts.start()).call("What now?", tools=TOOLS, response_model=response_model)
        for _ in range(3)
    ]
    assert told == [given] * 3
    assert [type(answer) for answer in told] == [type(given)] * 3
    assert model.asked == ["What now?"]


def test_another_question_tool_schema_or_stop_word_is_another_call(attempts: Attempts) -> None:
    model = ScriptedModel()
    for _ in range(2):
        journaled = JournaledLLM(model, attempts.start())
        journaled.call("one")
        journaled.call("two")
        journaled.call("one", tools=TOOLS)
        journaled.call("one", response_model=City)
        with call_stop_override(journaled, ["Observation:"]):
            journaled.call("one")
    assert model.asked == ["one", "two", "one", "one", "one"]
    assert model.stops == [[], [], [], [], ["Observation:"]]


@pytest.mark.parametrize(
    "call",
    [
        {"id": "", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        {"function": {"name": "weather", "arguments": "{}"}},
        {"name": "weather", "input": {}},
        SimpleNamespace(function_call=SimpleNamespace(name="weather", args={})),
        SimpleNamespace(id=None, function=SimpleNamespace(name="weather", arguments="{}")),
    ],
    ids=["an empty id", "no id", "Bedrock's", "Gemini's", "an object's"],
)
def test_a_tool_call_without_an_id_gets_the_same_one_in_every_process(attempts: Attempts, call: Any) -> None:
    def told(run: Run) -> Any:
        return JournaledLLM(ScriptedModel(lambda _: [copy.deepcopy(call)]), run).call("What now?", tools=TOOLS)

    others = Attempts(attempts.clock)
    ((first,), (again,), (elsewhere,)) = (told(attempts.start()), told(attempts.start()), told(others.start()))
    assert first == again == elsewhere
    assert re.fullmatch(r"call_[0-9a-f]{16}_0", first["id"])
    assert first["function"]["name"] == "weather"
    ((another,),) = (JournaledLLM(ScriptedModel(lambda _: [call]), attempts.start()).call("And now?", tools=TOOLS),)
    assert another["id"] != first["id"]


def test_an_answer_in_the_wrong_shape_is_journaled_and_refused_again(attempts: Attempts) -> None:
    model = ScriptedModel(lambda _: City.model_validate_json('{"name": "Ulm"}'))
    for _ in range(2):
        run = attempts.start()
        with pytest.raises(MisshapenReply, match="not in the shape"):
            JournaledLLM(model, run).call("Which city?", response_model=City)
        assert isinstance(reason(run), MisshapenReply)
    assert model.asked == ["Which city?"]
    assert attempts.job.receipt.calls_paid == 1


def test_what_a_coworker_says_is_never_put_into_a_file_of_random_name(attempts: Attempts) -> None:
    journaled = JournaledLLM(ScriptedModel(), attempts.start())
    assert journaled.is_tool_result_overflowing_threshold("x" * 100_000)[0] is False


# ---- what it cost


def test_tokens_are_counted_call_by_call_though_calls_run_side_by_side(attempts: Attempts) -> None:
    together = Barrier(2)

    def script(message: str) -> str:
        together.wait(TIMEOUT)  # both have counted their prompts, and neither its reply
        return message

    model, run = ScriptedModel(script), attempts.start()
    JournaledLLM(ScriptedModel(), run).call("")  # until one has ended, nobody knows how large a call is
    journaled = JournaledLLM(model, run)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(journaled.call, ["x" * 100, "x" * 7]))
    assert {(call.reply.prompt_tokens, call.reply.completion_tokens) for call in attempts.journal} == {
        (0, 1),
        (100, 1),
        (7, 1),
    }
    assert (run.usage().model, run.usage().calls, run.usage().prompt_tokens) == ("scripted/one", 3, 107)
    assert journaled.get_token_usage_summary().total_tokens == 109
    assert model.get_token_usage_summary().total_tokens == 0  # the original only lends its client


def test_what_is_replayed_counts_for_the_crew_as_what_was_paid(attempts: Attempts) -> None:
    models = []
    for _ in range(2):
        models.append(JournaledLLM(ScriptedModel(), attempts.start()))
        models[-1].call("x" * 100)
    paid, replayed = (model.get_token_usage_summary() for model in models)
    assert replayed == paid
    assert (paid.prompt_tokens, paid.completion_tokens, paid.successful_requests) == (100, 1, 1)


# ---- CrewAI's listeners


@pytest.mark.parametrize("tools", [None, TOOLS], ids=["text", "tool calls"])
def test_listeners_hear_of_a_replayed_call_what_they_heard_of_the_paid_one(attempts: Attempts, tools: Any) -> None:
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

        for _ in range(2):
            JournaledLLM(ExtractiveLLM(model=ExtractiveLLM.NAME), attempts.start()).call("Topic: rain", tools)
            assert crewai_event_bus.flush(TIMEOUT)
    paid, replayed = sorted(heard[:2], key=len), sorted(heard[2:], key=len)
    assert replayed == paid
    assert len(paid) == 2
    assert calls[0] == calls[1] != calls[2] == calls[3]


# ---- failures


@pytest.mark.parametrize("error", [TimeoutError("too slow"), ValueError("no such model")])
def test_a_model_that_fails_stops_the_run_whatever_crewai_makes_of_it(attempts: Attempts, error: Exception) -> None:
    def script(_: str) -> str:
        raise error

    run = attempts.start()
    with pytest.raises(type(error)):
        JournaledLLM(ScriptedModel(script), run).call("one")
    assert reason(run) is error
    assert attempts.journal == []


def test_a_conversation_that_is_too_long_may_be_shortened_and_asked_again(attempts: Attempts) -> None:
    def script(message: str) -> str:
        if message == "long":
            raise ValueError("This model's maximum context length is 1000 tokens.")
        return "rain"

    run = attempts.start()
    journaled = JournaledLLM(ScriptedModel(script), run)
    with pytest.raises(ValueError, match="maximum context length"):
        journaled.call("long")
    assert not run.outcome.done()
    assert journaled.call("short") == "rain"


def test_a_budget_that_is_spent_is_the_reason_whatever_the_crew_does_then(attempts: Attempts) -> None:
    run = attempts.start(POLICY.model_copy(update={"budget": Budget(calls=1)}))
    journaled = JournaledLLM(ScriptedModel(), run)
    journaled.call("one")
    for _ in range(2):
        with pytest.raises(RunStopped):
            journaled.call("two")
    assert isinstance(reason(run), BudgetExceeded)


def test_a_journaled_model_can_do_what_its_model_can(attempts: Attempts) -> None:
    journaled = JournaledLLM(ScriptedModel(), attempts.start())
    assert journaled.supports_function_calling()
    assert not journaled.supports_stop_words()
    assert not journaled.supports_multimodal()
    assert journaled.get_context_window_size() == 1000
    assert journaled.get_input_tokens_count("x" * 400) == 100


def test_nobody_is_asked_to_count_tokens(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> int:
        raise AssertionError("a request past the journal")

    monkeypatch.setattr(ScriptedModel, "get_input_tokens_count", asked)
    journaled = JournaledLLM(ScriptedModel(), attempts.start())
    assert len(journaled.fitting("x" * 4_000)) < 1_000
    assert journaled.is_tool_result_overflowing_threshold("x" * 4_000) == (False, 1_000)


@pytest.mark.parametrize(("takes", "raised"), [(0, ConnectionError), (30, RelayDue)])
def test_a_connection_that_breaks_at_once_is_an_error_and_one_given_up_at_the_end_of_the_run_is_a_relay(
    attempts: Attempts, takes: float, raised: type[Exception]
) -> None:
    def break_off(_: Any) -> str:
        attempts.clock.pass_(seconds=takes)
        raise ConnectionError("it broke")

    model = ScriptedModel(break_off)
    model._client = SimpleNamespace(timeout=60, with_options=lambda timeout: SimpleNamespace(timeout=timeout))
    run = attempts.start(seconds=30)
    with pytest.raises(raised):
        JournaledLLM(model, run).call("rain")
    assert isinstance(reason(run), raised)
