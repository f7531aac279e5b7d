"""Every way in which CrewAI asks a model or runs a tool, by objects that nobody has wrapped: all go to the journal."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import openai
import pytest
from crewai import LLM, Agent, Crew, Process, Task
from crewai.flow.flow import Flow, listen, start
from crewai.llms.base_llm import BaseLLM
from crewai.llms.providers.openai.completion import OpenAICompletion
from crewai.tools import BaseTool, tool
from pydantic import BaseModel

from crewrelay.crews.journal.ambient import NotInTheRun, journaling
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.ports import Calls, RelayDue
from crewrelay.jobs.records.journal import Kind
from crewrelay.testing import Unjournaled
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.runs import TIMEOUT, Attempts, reason

Way = Callable[[BaseLLM], Any]


@pytest.fixture(autouse=True)
def tuned() -> None:
    tune_crewai()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as server:
        yield server


def model_of(server: OpenAIServer, cls: Any = LLM) -> BaseLLM:
    name = "gpt-4o-mini" if cls is Described else "openai/gpt-4o-mini"
    model: BaseLLM = cls(model=name, base_url=server.url, api_key="none")
    return model


class City(BaseModel):
    name: str


class Looks:
    """How often the weather was looked up."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, city: str) -> str:
        self.made.append(city)
        return f"rain in {city}"


looks = Looks()


@pytest.fixture(autouse=True)
def no_looks() -> None:
    looks.made.clear()


@tool
def weather(city: str) -> str:
    """Tells the weather of a city."""
    return looks(city)


class WeatherTool(BaseTool):
    name: str = "weather"
    description: str = "Tells the weather of a city."

    def _run(self, city: str) -> str:
        return looks(city)


class AsyncWeatherTool(WeatherTool):
    async def _run(self, city: str) -> str:  # type: ignore[override]
        return looks(city)


class Described(OpenAICompletion):
    """A model that knows tools from its prompt only, in a class of the project's own."""

    def supports_function_calling(self) -> bool:
        return False


def agent_of(model: BaseLLM, **options: Any) -> Agent:
    known = {"role": "Forecaster", "goal": "Forecast.", "backstory": "You look up.", "llm": model}
    return Agent(**{**known, **options})


def crew_of(model: BaseLLM, *, agent: Any = None, task: Any = None, **options: Any) -> Crew:
    forecaster = agent_of(model, **(agent or {}))
    wanted = {"description": "Tell the weather.", "expected_output": "A sentence.", "agent": forecaster}
    return Crew(agents=[forecaster], tasks=[Task(**{**wanted, **(task or {})})], **options)


def kickoff(model: BaseLLM, **options: Any) -> str:
    return str(crew_of(model, **options).kickoff())


def akickoff(model: BaseLLM, **options: Any) -> str:
    return str(asyncio.run(crew_of(model, **options).akickoff()))


def kickoff_async(model: BaseLLM) -> str:
    return str(asyncio.run(crew_of(model).kickoff_async()))


def kickoff_for_each(model: BaseLLM) -> str:
    crew = crew_of(model, task={"description": "Tell of {city}."})
    return str(crew.kickoff_for_each([{"city": "Ulm"}, {"city": "Bonn"}]))


async def acall(model: Any, question: str) -> Any:
    try:
        return await model.acall(question)
    finally:
        await model._async_client.close()  # it belongs to the loop


def shaped_model(model: BaseLLM) -> Any:
    return model.model_copy(update={"response_format": City}).call("City?")


def lite_agent(model: BaseLLM) -> str:
    return str(agent_of(model, tools=[WeatherTool()]).kickoff("Rain?"))


def lite_agent_async(model: BaseLLM) -> str:
    return str(asyncio.run(agent_of(model).kickoff_async("Rain?")))


def shaped_lite_agent(model: BaseLLM) -> str:
    return str(agent_of(model).kickoff("Which city?", response_format=City).pydantic)  # type: ignore[union-attr]


def asynchronous_tasks(model: BaseLLM) -> str:
    agents: list[Any] = [agent_of(model, role=f"Forecaster {number}") for number in range(3)]
    tasks = [
        Task(description=f"Tell {number}.", expected_output="A word.", agent=one, async_execution=number < 2)
        for number, one in enumerate(agents)
    ]
    return str(Crew(agents=agents, tasks=tasks).kickoff())


def flow(model: BaseLLM) -> str:
    class Weathers(Flow):  # type: ignore[type-arg]
        @start()
        def begin(self) -> Any:
            return model.call("Rain?")

        @listen(begin)
        async def ask_again(self, said: Any) -> Any:
            return await acall(model, f"{said} Sure?")

        @listen(ask_again)
        def tell(self, said: Any) -> str:
            return f"{said} {kickoff(model)} {weather.run(city='Ulm')}"

    return str(Weathers().kickoff())


def function_guardrail(model: BaseLLM) -> str:
    def guardrail(output: Any) -> tuple[bool, Any]:
        return True, f"{output.raw} {model.call('Is it true?')}"

    return kickoff(model, task={"guardrail": guardrail})


def hierarchical(model: BaseLLM) -> str:
    return kickoff(model, task={"agent": None}, process=Process.hierarchical, manager_llm=model)


WAYS: dict[str, Way] = {
    "a call": lambda model: model.call("Rain?"),
    "an asynchronous call": lambda model: asyncio.run(acall(model, "Rain?")),
    "a shaped call": lambda model: model.call("City?", response_model=City),
    "a model with a shape": shaped_model,
    "a crew": kickoff,
    "native tools": lambda model: kickoff(model, agent={"tools": [WeatherTool()]}),
    "a function as tool": lambda model: kickoff(model, agent={"tools": [weather]}),
    "an asynchronous tool": lambda model: kickoff(model, agent={"tools": [AsyncWeatherTool()]}),
    "a task's tool": lambda model: kickoff(model, task={"tools": [WeatherTool()]}),
    "a crew, akickoff": akickoff,
    "tools, akickoff": lambda model: akickoff(model, agent={"tools": [WeatherTool()]}),
    "a crew, kickoff_async": kickoff_async,
    "a crew, kickoff_for_each": kickoff_for_each,
    "an agent": lite_agent,
    "an agent, kickoff_async": lite_agent_async,
    "an agent with a shape": shaped_lite_agent,
    "a string as guardrail": lambda model: kickoff(model, task={"guardrail": "It names no city."}),
    "a function as guardrail": function_guardrail,
    "output_pydantic": lambda model: kickoff(model, task={"output_pydantic": City}),
    "output_json": lambda model: kickoff(model, task={"output_json": City}),
    "planning": lambda model: kickoff(model, planning=True, planning_llm=model),
    "an agent that plans": lambda model: kickoff(model, agent={"planning": True}),
    "a manager": hierarchical,
    "function_calling_llm": lambda model: kickoff(
        model, agent={"tools": [WeatherTool()], "function_calling_llm": model}
    ),
    "asynchronous tasks": asynchronous_tasks,
    "a flow": flow,
}


@pytest.mark.parametrize(
    "cls",
    [LLM, Described, partial(LLM, stream=True)],
    ids=["native", "described", "streaming"],
)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_model_is_asked_once_and_never_past_the_journal(
    attempts: Attempts, server: OpenAIServer, way: Way, cls: Any
) -> None:
    """What reaches the server is what is journaled; a second run asks nothing, and says the same."""
    told = []
    for _ in range(2):
        run = attempts.start()
        with journaling(run):
            told.append(way(model_of(server, cls)))
        assert not run.outcome.done()
        paid = [call for call in attempts.journal if call.kind is Kind.MODEL]
        assert len(server.asked) == len(paid) > 0
        assert len(looks.made) == len(attempts.journal) - len(paid)
    assert told[0] == told[1]
    assert type(told[0]) is type(told[1])
    assert run.receipt.calls_paid == len(paid)
    assert run.receipt.calls_replayed == len(paid)


def structured(given: BaseTool) -> Any:
    return given.to_structured_tool().invoke({"city": "Ulm"})


def asynchronously_structured(given: BaseTool) -> Any:
    return asyncio.run(given.to_structured_tool().ainvoke({"city": "Ulm"}))


@pytest.mark.parametrize("invoke", [lambda given: given.run(city="Ulm"), structured, asynchronously_structured])
@pytest.mark.parametrize("given", [weather, WeatherTool()], ids=["@tool", "BaseTool"])
def test_a_tool_runs_once_and_never_past_the_journal(
    attempts: Attempts, given: BaseTool, invoke: Callable[[BaseTool], Any]
) -> None:
    for _ in range(2):
        with journaling(attempts.start()):
            assert invoke(given) == "rain in Ulm"
    assert looks.made == ["Ulm"]
    assert [call.kind for call in attempts.journal] == [Kind.TOOL]


def test_a_tool_that_is_invoked_asynchronously_knows_its_run(attempts: Attempts) -> None:
    for _ in range(2):
        with journaling(attempts.start()):
            assert asynchronously_structured(WeatherTool()) == "rain in Ulm"
    assert looks.made == ["Ulm"]


@pytest.mark.parametrize("result", [{"rain": [1, 2.5, None]}, City(name="Ulm"), ("a", 1), {1: 2}, "rain"], ids=repr)
def test_a_tools_result_is_the_same_in_both_runs(attempts: Attempts, result: Any) -> None:
    class Asked(BaseTool):
        name: str = "asked"
        description: str = "Tells."

        def _run(self) -> Any:
            return result

    told = []
    for _ in range(2):
        with journaling(attempts.start()):
            told.append(Asked().run())
    assert told[0] == told[1]
    assert type(told[0]) is type(told[1])


def test_a_long_result_of_a_tool_is_cut(attempts: Attempts, server: OpenAIServer) -> None:
    class Long(WeatherTool):
        def _run(self, city: str) -> str:
            return "rain " * 200_000

    for _ in range(2):
        with journaling(attempts.start()):
            kickoff(model_of(server), agent={"tools": [Long()]})
    assert len(server.asked) == 2
    assert "The rest is left out" in str(server.asked[-1])


def test_a_long_result_that_is_the_answer_is_left_whole(attempts: Attempts, server: OpenAIServer) -> None:
    class Long(WeatherTool):
        def _run(self, city: str) -> str:
            return "rain " * 200_000

    with journaling(attempts.start()):
        answer = kickoff(model_of(server), agent={"tools": [Long(result_as_answer=True)]})
    assert answer == "rain " * 200_000


def test_a_planners_prompt_has_no_addresses(attempts: Attempts, server: OpenAIServer) -> None:
    with journaling(attempts.start()):
        model = model_of(server)
        kickoff(model, agent={"tools": [weather]}, task={"tools": [weather]}, planning=True, planning_llm=model)
    assert "func=<function weather>" in str(server.asked[0])


# ---- what a tool asks by itself


class Advice(BaseTool):
    """A tool that asks a model; it swallows whatever goes wrong."""

    name: str = "advice"
    description: str = "Advises."
    model: Any

    def _run(self) -> str:
        try:
            return f"{self.model.call('What now?')} {self.model.call('And then?')}"
        except Exception as error:
            return f"failed: {error}"


def test_what_a_tool_asks_is_not_paid_again_after_it_was_interrupted(attempts: Attempts, server: OpenAIServer) -> None:
    class Killed(BaseException):
        pass

    class Interrupted(Advice):
        def _run(self) -> str:
            self.model.call("What now?")
            raise Killed

    with pytest.raises(Killed), journaling(attempts.start()):
        Interrupted(model=model_of(server)).run()
    with journaling(attempts.start()):
        Advice(model=model_of(server)).run()
    assert len(server.asked) == 2


def test_a_run_that_ends_inside_of_a_tool_is_not_the_tools_failure(attempts: Attempts, server: OpenAIServer) -> None:
    server.failing = 503
    run = attempts.start()
    with pytest.raises(openai.InternalServerError), journaling(run):
        Advice(model=model_of(server)).run()
    assert isinstance(reason(run), openai.InternalServerError)
    assert attempts.journal == []
    server.failing = None
    with journaling(attempts.start()):
        assert "failed" not in Advice(model=model_of(server)).run()


def test_a_relay_inside_of_a_tool_is_a_relay(attempts: Attempts, server: OpenAIServer) -> None:
    run = attempts.start(seconds=1)
    with pytest.raises(Exception, match="no more calls"), journaling(run):
        Advice(model=model_of(server)).run()
    assert isinstance(reason(run), RelayDue)
    assert server.asked == []


# ---- retries


def test_a_failing_call_is_made_once(attempts: Attempts, server: OpenAIServer) -> None:
    server.failing = 503
    run = attempts.start()
    with pytest.raises(openai.InternalServerError), journaling(run):
        model_of(server).call("Rain?")
    assert len(server.asked) == 1


def test_an_asynchronous_call_that_is_throttled_is_not_repeated(attempts: Attempts, server: OpenAIServer) -> None:
    server.failing = 429
    with pytest.raises(openai.RateLimitError), journaling(attempts.start()):
        asyncio.run(acall(model_of(server), "Rain?"))
    assert len(server.asked) == 1


# ---- which run


def test_outside_of_a_run_nothing_is_journaled(server: OpenAIServer) -> None:
    assert model_of(server).call("Rain?") == model_of(server).call("Rain?")
    assert weather.run(city="Ulm") == weather.run(city="Ulm")
    assert (len(server.asked), len(looks.made)) == (2, 2)


@pytest.mark.parametrize("call", [lambda model: model.call("Rain?"), lambda _: weather.run(city="Ulm")])
def test_a_thread_that_does_not_know_its_run_is_refused(attempts: Attempts, server: OpenAIServer, call: Any) -> None:
    model = model_of(server)
    with journaling(attempts.start()), ThreadPoolExecutor(1) as pool, pytest.raises(NotInTheRun, match="copy_context"):
        pool.submit(call, model).result(TIMEOUT)
    assert (server.asked, looks.made) == ([], [])


def test_two_runs_side_by_side_have_journals_of_their_own(server: OpenAIServer) -> None:
    both = threading.Barrier(2)

    def run(calls: Calls, question: str) -> None:
        model = model_of(server)
        with journaling(calls):
            both.wait(TIMEOUT)
            asyncio.run(acall(model, f"{question}, first"))
            kickoff(model, task={"description": question, "async_execution": True})
            both.wait(TIMEOUT)

    runs = {"Rain?": Unjournaled(), "Snow?": Unjournaled()}
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, calls, question) for question, calls in runs.items()]:
            done.result(TIMEOUT)
    assert len(server.asked) == 4
    assert [len(calls.paid) for calls in runs.values()] == [2, 2]
