"""A job that asks a human: it waits without a lease and goes on with the answer, whatever happens meanwhile."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from pydantic import ValidationError

from crewrelay.jobs.errors import AlreadyAnswered, InvalidRequest, JobFinished, NotWaiting, StaleWrite, UnknownJob
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.questions import Feedback, Question
from crewrelay.jobs.sweeper import Sweeper, Swept
from tests.support.executions import ANSWER, INPUT, POLICY, Desk, ScriptedCrew
from tests.support.fixtures import HandSetClock

REVIEW = Question(message="Is it good?", task="writing", output="A draft.")
WEEK = timedelta(days=7)
YES = Feedback(text="yes")


def reviewed(*questions: Question) -> Callable[[Calls], Answer]:
    """A crew that asks its model, then each question, then its model about the answers."""

    def script(calls: Calls) -> Answer:
        calls.call(Kind.MODEL, {"asked": "draft"}, lambda: Reply(body="A draft.", prompt_tokens=9))
        said = [calls.ask(question) for question in questions]
        text = ", ".join(f"{feedback.text}{feedback.option or ''}" for feedback in said)
        reply = calls.call(Kind.MODEL, {"asked": text}, lambda: Reply(body=f"After {text}", prompt_tokens=9))
        return ANSWER.model_copy(update={"text": reply.body})

    return script


class Office:
    """A job whose crew asks, its worker, the human and the sweeper."""

    def __init__(self, clock: HandSetClock, *questions: Question) -> None:
        self.clock = clock
        self.desk = Desk(clock, ScriptedCrew(reviewed(*questions or (REVIEW,))))
        self.desk.submit()
        self.human = Intervention(self.desk.table, self.desk.doorbell, clock, POLICY)

    def run(self) -> Status:
        status = self.desk.run(first_call_is_free=True).status
        self.desk.crew_ends()
        return status

    def answer(self, feedback: Feedback = YES, question_id: str | None = None) -> Status:
        return self.human.answer("acme", "an-id", question_id or self.question, feedback).job.status

    def sweep(self) -> dict[Swept, int]:
        sweeper = Sweeper(self.desk.table, self.desk.doorbell, self.clock, POLICY)
        return dict(sweeper.sweep(self.clock() + timedelta(minutes=1)))

    @property
    def question(self) -> str:
        return self.desk.job.question or ""

    @property
    def text(self) -> str:
        record = self.desk.table.load("an-id")
        assert record
        assert record.answer
        return record.answer.text


@pytest.fixture
def office(clock: HandSetClock) -> Office:
    return Office(clock)


def test_a_job_that_asks_waits_without_a_lease_until_its_question_expires(office: Office, clock: HandSetClock) -> None:
    assert office.run() is Status.WAITING
    job, record = office.desk.job, office.desk.table.load("an-id")
    assert (job.lease_until, job.holder, job.claimed_at, job.error) == (None, None, None, None)
    assert (job.asked_at, job.due_at) == (clock.now, clock.now + WEEK)
    assert record
    assert (record.question, record.answer) == (REVIEW, None)
    assert office.desk.doorbell.rings == []
    assert office.sweep() == {}
    assert not transitions.claimable(job, clock.now + WEEK * 2)


def test_it_goes_on_with_the_answer_and_pays_for_nothing_again(office: Office) -> None:
    office.run()
    assert office.answer() is Status.PENDING
    assert office.desk.doorbell.rings == ["an-id"]
    assert office.run() is Status.COMPLETED
    assert office.text == "After yes"
    assert (office.desk.job.receipt.calls_paid, office.desk.job.attempts, office.desk.job.relays) == (2, 1, 0)


def test_neither_its_time_nor_its_attempts_run_while_it_waits(office: Office, clock: HandSetClock) -> None:
    office.run()
    ran, end_by = office.desk.job.ran, office.desk.job.end_by
    clock.now += timedelta(days=5)  # its maximum age is one day
    office.answer()
    assert (office.desk.job.ran, office.desk.job.end_by) == (ran, end_by + timedelta(days=5))
    assert office.run() is Status.COMPLETED


def test_a_clock_that_was_set_back_takes_no_time_from_the_job(office: Office, clock: HandSetClock) -> None:
    office.run()
    end_by = office.desk.job.end_by
    clock.now -= timedelta(hours=1)
    office.answer()
    assert office.desk.job.end_by == end_by


def test_the_same_answer_again_changes_nothing_and_another_is_refused(office: Office) -> None:
    office.run()
    question = office.question
    office.answer()
    before = office.desk.job
    office.answer(question_id=question)
    assert office.desk.job == before
    with pytest.raises(AlreadyAnswered):
        office.answer(Feedback(text="no"), question)
    office.run()
    assert office.answer(question_id=question) is Status.COMPLETED
    with pytest.raises(AlreadyAnswered):
        office.answer(Feedback(text="no"), question)


@pytest.mark.parametrize("again", [YES, Feedback(text="no")], ids=["the same", "another"])
def test_an_answer_that_is_journaled_but_whose_job_still_waits_is_taken_up_by_the_next_one(
    office: Office, monkeypatch: pytest.MonkeyPatch, again: Feedback
) -> None:
    office.run()
    with monkeypatch.context() as patched:
        patched.setattr(transitions, "resume", lambda job, *_: job)  # as if the process died between the two writes
        office.answer()
    assert office.desk.job.status is Status.WAITING
    if again == YES:
        assert office.answer(again) is Status.PENDING
    else:
        with pytest.raises(AlreadyAnswered):
            office.answer(again)
    assert office.run() is Status.COMPLETED
    assert office.text == "After yes"


def test_an_answer_to_nothing_that_was_asked_is_refused_and_kept_nowhere(office: Office) -> None:
    with pytest.raises(NotWaiting):
        office.answer(question_id="d#0")
    office.run()
    with pytest.raises(NotWaiting):
        office.answer(question_id="d#0")
    with pytest.raises(UnknownJob):
        office.human.answer("another", "an-id", office.question, YES)
    assert [entry.kind for entry in office.desk.table.entries(office.desk.job)] == [Kind.MODEL]


@pytest.mark.parametrize(
    ("question", "feedback"),
    [
        (Question(message="Which?", options=("a", "b")), Feedback(option="c")),
        (REVIEW, Feedback(option="a")),
        (Question(message="Which?", options=("a", "b"), must_choose=True), Feedback(text="a, perhaps")),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_job_goes_on_waiting(
    clock: HandSetClock, question: Question, feedback: Feedback
) -> None:
    office = Office(clock, question)
    office.run()
    with pytest.raises(InvalidRequest):
        office.answer(feedback)
    assert office.desk.job.status is Status.WAITING


def test_each_question_is_asked_in_its_turn_and_the_same_one_twice(clock: HandSetClock) -> None:
    office = Office(clock, REVIEW, REVIEW)
    office.run()
    first = office.question
    office.answer(Feedback(text="shorter"))
    assert office.run() is Status.WAITING
    assert office.question == first.replace("#0", "#1")
    office.answer()
    assert office.run() is Status.COMPLETED
    assert office.text == "After shorter, yes"


def test_a_question_that_nobody_answers_fails_the_job_and_a_retry_asks_again(clock: HandSetClock) -> None:
    office = Office(clock, REVIEW.model_copy(update={"timeout": timedelta(hours=1)}))
    office.run()
    clock.pass_(hours=2)
    assert office.sweep() == {Swept.RUNG: 1}
    assert office.run() is Status.FAILED
    assert office.desk.job.error
    assert office.desk.job.error.type == "unanswered"
    with pytest.raises(AlreadyAnswered):
        office.answer()
    for _ in range(6):
        office.human.retry("acme", "an-id")
        assert office.run() is Status.WAITING
        clock.pass_(hours=2)
        office.sweep()
        assert office.run() is Status.FAILED
    office.human.retry("acme", "an-id")
    assert office.run() is Status.WAITING
    office.answer()
    assert office.run() is Status.COMPLETED
    assert office.desk.job.receipt.calls_paid == 2


def test_an_answer_that_comes_while_its_question_expires_counts(office: Office, clock: HandSetClock) -> None:
    office.run()
    question = office.question
    clock.now += WEEK + POLICY.skew
    put_call = office.desk.table.put_call

    def at_last(job: Job, call: Call) -> Call:
        office.desk.table.put_call = put_call  # type: ignore[method-assign]
        office.sweep()  # between the answer's reading of the job and its entry
        return put_call(job, call)

    office.desk.table.put_call = at_last  # type: ignore[method-assign]
    with pytest.raises(AlreadyAnswered):
        office.answer(question_id=question)
    assert office.run() is Status.FAILED


def test_an_answer_that_was_journaled_when_its_question_expired_counts(office: Office, clock: HandSetClock) -> None:
    office.run()
    clock.now += WEEK + POLICY.skew
    save = office.desk.table.save

    def late(before: Job, after: Job) -> None:
        office.desk.table.save = save  # type: ignore[method-assign]
        office.sweep()  # between the answer's entry and its change of the job
        assert office.run() is Status.COMPLETED
        save(before, after)

    office.desk.table.save = late  # type: ignore[method-assign]
    assert office.answer() is Status.COMPLETED
    assert office.text == "After yes"


def test_questions_that_expire_side_by_side_are_waited_for_once_each(clock: HandSetClock) -> None:
    """Their tasks run at once: now this one asks first, now that one."""
    ours = [Question(message=message, default=message) for message in ("a", "b", "c")]
    orders = iter([[1, 0, 2], [2, 1, 0], [0, 2, 1], [2, 1, 0]])

    def script(calls: Calls) -> Answer:
        said = {}
        for number in next(orders):
            said[number] = calls.ask(ours[number]).text
        return ANSWER.model_copy(update={"text": ", ".join(said[number] for number in range(3))})

    office = Office(clock)
    office.desk.crew.script = script
    for _ in range(3):
        assert office.run() is Status.WAITING
        clock.now += WEEK + POLICY.skew
        office.sweep()
    assert office.run() is Status.COMPLETED
    assert office.text == "a, b, c"


def test_a_question_that_nobody_answers_takes_its_default(clock: HandSetClock) -> None:
    choice = Question(message="Which?", options=("a", "b"), default="b", timeout=timedelta(minutes=5))
    office = Office(clock, choice, Question(message="Why?", default="because"))
    office.run()
    clock.now += timedelta(minutes=6)
    office.sweep()
    assert office.run() is Status.WAITING
    clock.now += WEEK + POLICY.skew
    office.sweep()
    assert office.run() is Status.COMPLETED
    assert office.text == "After b, because"


def test_the_first_answer_counts_also_against_the_default(clock: HandSetClock) -> None:
    office = Office(clock, Question(message="Why?", default="because"))
    office.run()
    question = office.question
    clock.now += WEEK + POLICY.skew
    office.sweep()
    office.run()
    with pytest.raises(AlreadyAnswered):
        office.answer(question_id=question)


def test_a_waiting_job_can_be_cancelled(office: Office) -> None:
    office.run()
    question = office.question
    office.human.cancel("acme", "an-id")
    assert office.desk.job.asked_at is None
    with pytest.raises(NotWaiting):
        office.answer(question_id=question)
    with pytest.raises(JobFinished):
        office.human.retry("acme", "an-id")


def test_a_call_in_flight_beside_the_question_is_journaled_before_the_job_waits(clock: HandSetClock) -> None:
    asked = Event()

    def script(calls: Calls) -> Answer:
        def slow() -> Reply:
            asked.wait(5)
            return Reply(body="at last", prompt_tokens=9)

        with ThreadPoolExecutor() as pool:
            beside = pool.submit(calls.call, Kind.MODEL, {"asked": "beside"}, slow)
            while not calls.waits_for_reply:  # type: ignore[attr-defined]
                pass
            try:
                feedback = calls.ask(REVIEW)
            finally:
                asked.set()
            return ANSWER.model_copy(update={"text": f"{feedback.text}, {beside.result().body}"})

    desk = Desk(clock, ScriptedCrew(script))
    desk.submit()
    desk.run(first_call_is_free=True)
    assert (desk.job.status, desk.job.receipt.calls_paid) == (Status.WAITING, 1)


def test_a_crew_that_was_changed_meanwhile_asks_anew(office: Office) -> None:
    office.run()
    question = office.question
    office.answer()
    office.desk.crew.version = "crew-2"
    assert office.run() is Status.WAITING
    assert office.question != question


def test_a_question_expires_while_the_row_is_there_and_a_job_too_old_to_wait_fails(clock: HandSetClock) -> None:
    office = Office(clock, Question(message="Why?", timeout=timedelta(days=365)))
    office.run()
    job = office.desk.job
    assert job.due_at == job.expires_at - POLICY.max_age
    job = transitions.submit("an-id", "acme", INPUT, clock.now - timedelta(days=29), POLICY)
    assert transitions.answer_by(job, None, clock.now, POLICY) <= clock.now


@pytest.mark.parametrize(
    ("timeout", "within"),
    [
        pytest.param(timedelta(), timedelta(), id="none"),
        pytest.param(-WEEK, timedelta(), id="past"),
        pytest.param(timedelta.max, POLICY.keep - POLICY.max_age, id="beyond-all-dates"),
    ],
)
def test_any_timeout_of_a_question_ends_in_its_default(
    clock: HandSetClock, timeout: timedelta, within: timedelta
) -> None:
    office = Office(clock, Question(message="Who?", default="nobody", timeout=timeout))
    begun = clock()
    assert office.run() is Status.WAITING
    assert office.desk.job.due_at == begun + within
    clock.pass_(seconds=within.total_seconds() + POLICY.skew.total_seconds())
    assert office.sweep() == {Swept.RUNG: 1}
    assert office.run() is Status.COMPLETED
    assert office.text == "After nobody"


def test_only_a_running_job_waits_and_only_a_waiting_one_is_resumed(clock: HandSetClock) -> None:
    pending = transitions.submit("an-id", "acme", INPUT, clock.now, POLICY)
    with pytest.raises(StaleWrite):
        transitions.wait(pending, "d#0", clock.now, clock.now, POLICY)
    with pytest.raises(StaleWrite):
        transitions.resume(pending, clock.now, POLICY)


def test_an_output_of_any_length_can_be_asked_about() -> None:
    question = Question(message="Is it good?", output="x" * 200_000)
    assert len(question.output) == 100_000
    assert question.output.endswith("[The rest is left out: it is too long to be shown.]")
    with pytest.raises(ValidationError):
        Feedback(text="x" * 20_001)
