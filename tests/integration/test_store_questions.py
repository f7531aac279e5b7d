"""What every job store promises of a question: it is shown while the job waits for it, and found once it is due."""

from datetime import timedelta

from crewrelay.jobs.ports import JobRecord, JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.questions import Feedback, Question
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import INPUT, POLICY, claimed, due_job_ids, loaded, submitted, text_of_compressed_size

QUESTION = Question(message="Grüße, 世界?", task="writing", output="🌍", options=("yes", "no"), default="no")
WEEK = timedelta(days=7)


def waiting(store: JobStore, clock: HandSetClock, question: Question = QUESTION, question_id: str = "d#0") -> Job:
    running = claimed(store, submitted(store, clock), clock)
    store.put_question(running, question_id, question)
    job = transitions.wait(running, question_id, clock.now, clock.now + WEEK, POLICY)
    store.save(running, job)
    return job


def test_a_question_is_shown_while_the_job_waits(store: JobStore, clock: HandSetClock) -> None:
    job = waiting(store, clock)
    assert loaded(store, job.id) == JobRecord(job, INPUT, None, question=QUESTION)
    resumed = transitions.resume(job, clock.now, POLICY)
    store.save(job, resumed)
    assert loaded(store, job.id) == JobRecord(resumed, INPUT, None)


def test_the_question_of_a_lost_lease_is_never_shown(store: JobStore, clock: HandSetClock) -> None:
    job = waiting(store, clock)
    store.put_question(job, "d#1", QUESTION.model_copy(update={"message": "too late"}))
    assert loaded(store, job.id).question == QUESTION


def test_a_long_question_is_read_back_whole(store: JobStore, clock: HandSetClock) -> None:
    question = Question(message="Is it good?", output=text_of_compressed_size(70_000))
    assert loaded(store, waiting(store, clock, question).id).question == question


def test_a_waiting_job_is_due_when_its_question_expires_and_among_no_others(
    store: JobStore, clock: HandSetClock
) -> None:
    job, later = waiting(store, clock), clock.now + WEEK
    assert list(store.due(Status.WAITING, later - timedelta(seconds=1))) == []
    found = {status: list(store.due(status, later)) for status in Status}
    assert found == {status: [job.id] if status is Status.WAITING else [] for status in Status}


def test_a_waiting_job_is_unfinished(store: JobStore, clock: HandSetClock) -> None:
    waiting(store, clock)
    assert store.unfinished("acme", 10) == 1


def test_the_answer_of_a_human_is_a_journal_entry_of_which_the_first_counts(
    store: JobStore, clock: HandSetClock
) -> None:
    job = waiting(store, clock)
    yes, no = (
        Call(digest="d", nth=0, kind=Kind.HUMAN, seconds=1, reply=Reply(body=Feedback(text=text).model_dump_json()))
        for text in ("yes", "no")
    )
    assert store.put_call(job, yes) == yes
    assert store.put_call(job, no) == yes
    assert list(store.journal(job)) == [yes]


def test_a_cancelled_question_is_due_no_more(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    job = waiting(store, clock)
    store.save(job, transitions.cancel(job, clock.now))
    assert due_job_ids(storage) == set()
