"""What CrewAI asks a human ends the run; the run that follows is told the answer, and pays for nothing again."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Task
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import HumanFeedbackResult, human_feedback
from pydantic import BaseModel

import crewrelay
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.questions import AnswerNeeded, Feedback, Question
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.runs import Attempts, reason


@pytest.fixture(autouse=True)
def tuned() -> None:
    tune_crewai()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with openai_server() as server:
        for name, value in {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}.items():
            monkeypatch.setenv(name, value)
        yield server


def model() -> Any:
    return LLM(model="openai/gpt-4o-mini")


class Conversation:
    """Attempts at one job, of which each but the last ends with a question."""

    def __init__(self, attempts: Attempts, work: Callable[[], Any]) -> None:
        self._attempts = attempts
        self._work = work

    def asked(self) -> tuple[str, Question]:
        run = self._attempts.start(first_call_is_free=True)
        with journaling(run), pytest.raises(Exception):  # noqa: B017, PT011  # whatever CrewAI makes of it
            self._work()
        needed = reason(run)
        assert isinstance(needed, AnswerNeeded)
        return needed.id, needed.question

    def answer(
        self, text: str = "", option: str | None = None, *, expired: bool = False, accepted: bool = False
    ) -> Question:
        """To what the next attempt asks."""
        question_id, question = self.asked()
        digest, _, nth = question_id.rpartition("#")
        reply = Reply(body=Feedback(text=text, option=option, accepted=accepted, expired=expired).model_dump_json())
        call = Call(digest=digest, nth=int(nth), kind=Kind.HUMAN, seconds=0, reply=reply)
        self._attempts.table.put_call(self._attempts.job, call)
        return question

    def end(self) -> Any:
        with journaling(self._attempts.start(first_call_is_free=True)):
            return self._work()


@pytest.fixture
def converse(clock: Any) -> Callable[[Callable[[], Any]], Conversation]:
    return lambda work: Conversation(Attempts(clock), work)


Converse = Callable[[Callable[[], Any]], Conversation]


def reviewed_crew() -> Any:
    agent = Agent(role="Writer", goal="Write.", backstory="You write.", llm=model())
    task = Task(name="writing", description="Write.", expected_output="A text.", agent=agent, human_input=True)
    return Crew(agents=[agent], tasks=[task]).kickoff().raw  # type: ignore[union-attr]  # it does not stream


async def reviewed_crew_awaited() -> Any:
    agent = Agent(role="Writer", goal="Write.", backstory="You write.", llm=model())
    task = Task(name="writing", description="Write.", expected_output="A text.", agent=agent, human_input=True)
    return (await Crew(agents=[agent], tasks=[task]).akickoff()).raw  # type: ignore[union-attr]


def awaited() -> Any:
    return asyncio.run(reviewed_crew_awaited())


@pytest.mark.parametrize("work", [reviewed_crew, awaited])
def test_a_task_is_reviewed_until_the_human_is_content(
    converse: Converse, server: OpenAIServer, work: Callable[[], Any]
) -> None:
    conversation = converse(work)
    first = conversation.answer("Shorter, please.")
    assert (first.task, first.output[:6], first.options) == ("writing", "after ", ())
    second = conversation.answer("")
    assert second.output != first.output
    assert conversation.end() == second.output
    assert len(server.asked) == 2
    assert "Shorter, please." in str(server.asked[1]["messages"])


def test_what_is_accepted_is_not_done_again_whatever_is_said_of_it(converse: Converse, server: OpenAIServer) -> None:
    conversation = converse(reviewed_crew)
    asked = conversation.answer("Excellent, go on.", accepted=True)
    assert conversation.end() == asked.output
    assert len(server.asked) == 1


class Draft(BaseModel):
    text: str


class Review(Flow[Any]):
    @start()
    @human_feedback(message="Approve it?", emit=["approved", "rejected"], llm="openai/gpt-4o-mini")
    def draft(self) -> Draft:
        return Draft(text=str(model().call("Draft.")))

    @listen("approved")
    def publish(self) -> str:
        return f"published {self.last_human_feedback.feedback!r}"  # type: ignore[union-attr]

    @listen("rejected")
    def discard(self) -> str:
        return f"discarded {self.last_human_feedback.feedback!r}"  # type: ignore[union-attr]


def test_a_step_of_a_flow_is_reviewed(converse: Converse, server: OpenAIServer) -> None:
    conversation = converse(lambda: Review().kickoff())
    question = conversation.answer("Not at all.")
    assert (question.message, question.task, question.options) == ("Approve it?", "draft", ("approved", "rejected"))
    assert question.output.startswith('{\n  "text": "')
    assert conversation.end() == "discarded 'Not at all.'"
    assert len(server.asked) == 2  # the draft, and what the human meant


@pytest.mark.parametrize(
    ("text", "said"), [("", "'approved'"), ("But shorter.", "'approved\\nBut shorter.'")], ids=["alone", "with a text"]
)
def test_an_option_that_was_chosen_is_asked_of_no_model(
    converse: Converse, server: OpenAIServer, text: str, said: str
) -> None:
    conversation = converse(lambda: Review().kickoff())
    conversation.answer(text, "approved")
    assert conversation.end() == f"published {said}"
    assert len(server.asked) == 1


class Collected(Flow[Any]):
    @start()
    @human_feedback(message="What do you think?")
    def draft(self) -> object:
        return object()

    @listen(draft)
    def end(self, result: HumanFeedbackResult) -> str:
        return result.feedback


def test_an_output_without_a_text_of_its_own_is_asked_about_once(converse: Converse) -> None:
    conversation = converse(lambda: Collected().kickoff())
    question = conversation.answer("Well.")
    assert question.output == "<object object>"
    assert conversation.end() == "Well."


class Interview(Flow[Any]):
    @start()
    def gather(self) -> str:
        name = self.ask("Your name?")
        town = self.ask("Your town?", timeout=60)
        return f"{name} of {town}"


@pytest.mark.parametrize(("text", "expired", "town"), [("Ulm", False, "Ulm"), ("", True, "None"), ("", False, "")])
def test_a_flow_asks_for_input(converse: Converse, text: str, expired: bool, town: str) -> None:
    conversation = converse(lambda: Interview().kickoff())
    assert conversation.answer("Ann").timeout is None
    question = conversation.answer(text, expired=expired)
    assert (question.task, question.default, str(question.timeout)) == ("gather", "", "0:01:00")
    assert conversation.end() == f"Ann of {town}"


def test_outside_of_a_run_it_is_asked_as_crewai_does(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["Ann", "Ulm"])
    monkeypatch.setattr("builtins.input", lambda *_: next(answers))
    assert Interview().kickoff() == "Ann of Ulm"
    monkeypatch.setattr("builtins.input", lambda *_: "Well.")
    assert Collected().kickoff() == "Well."


def test_code_of_a_project_asks_by_itself(converse: Converse) -> None:
    def work() -> str:
        name = crewrelay.ask("Your name?")
        return f"{name}, {crewrelay.ask('Which?', options=('a', 'b'), default='b', timeout=60)}"

    conversation = converse(work)
    assert conversation.answer("Ann") == Question(message="Your name?")
    question = conversation.answer(option="a")
    assert (question.options, question.must_choose, question.default) == (("a", "b"), True, "b")
    assert conversation.end() == "Ann, a"


def test_what_is_to_be_typed_is_asked(converse: Converse) -> None:
    """As a flow of CrewAI's own guide does, until the answer is one of its words."""

    class Typed(Flow[Any]):
        @start()
        def gather(self) -> str:
            while (level := input("Which level? ")) not in ("beginner", "expert"):
                continue
            return level

    conversation = converse(lambda: Typed().kickoff())
    assert conversation.answer("none") == Question(message="Which level?", task="gather")
    assert conversation.answer("expert") == Question(message="Which level?", task="gather")
    assert conversation.end() == "expert"


def test_outside_of_a_run_it_asks_in_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "a"

    monkeypatch.setattr("builtins.input", answer)
    assert crewrelay.ask("Which?", options=("a", "b")) == "a"
    assert asked == ["Which? a / b "]
