"""What the table refuses is counted and told, whatever it was asked for; what it gives is passed on as it is."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crewrelay.jobs.errors import ServiceRefused, Unavailable
from crewrelay.jobs.listing import Filter, Page
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.ports import Measure
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, File, Usage
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import Question
from crewrelay.testing import MemoryJobStore
from tests.support.doubles.meter import MemoryMeter
from tests.support.fixtures import HandSetClock

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INPUT = JobInput(crew="research", inputs={"topic": "neural networks"})
JOB = transitions.submit("an-id", "acme", INPUT, NOW, Policy())
CALL = Call(digest="a-digest", nth=0, kind=Kind.MODEL, seconds=1, reply=Reply(body="a reply"))
ANSWER = Answer(text="an answer", usage=Usage(model="scripted/one"))
FILE = File(name="a", size=1, digest="d", content=b"a")
QUESTION = Question(message="Is it good?")
FAILURE = Failure(type="damaged_job", message="It can't be read.")


class FailingTable:
    """Fails whatever it is asked for; what is read page by page at its second page."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _fail(self, *_: object) -> Any:
        raise self._error

    create = save = delete = load = jobs = listed = unfinished = put_file = read_file = put_events = events = _fail
    put_answer = put_question = put_call = entries = delete_expired = end_damaged = statuses = titles = _fail

    def journal(self, job: Job) -> Iterator[Call]:
        yield CALL
        raise self._error

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        yield "an-id"
        raise self._error


REQUESTS: dict[str, Callable[[ObservedStore], object]] = {
    "create": lambda store: store.create(JOB, INPUT),
    "save": lambda store: store.save(JOB, transitions.cancel(JOB, NOW)),
    "load": lambda store: store.load("an-id"),
    "jobs": lambda store: store.jobs(["an-id"], "acme"),
    "statuses": lambda store: store.statuses(["an-id"], "acme"),
    "listed": lambda store: store.listed("acme", Filter(), None, 10),
    "titles": lambda store: store.titles(["an-id"], "acme"),
    "delete": lambda store: store.delete(JOB),
    "put_answer": lambda store: store.put_answer(JOB, ANSWER),
    "put_question": lambda store: store.put_question(JOB, "id#0", QUESTION),
    "put_call": lambda store: store.put_call(JOB, CALL),
    "put_file": lambda store: store.put_file(JOB, FILE),
    "read_file": lambda store: store.read_file(JOB, FILE),
    "journal": lambda store: list(store.journal(JOB)),
    "entries": lambda store: store.entries(JOB),
    "due": lambda store: list(store.due(Status.PENDING, NOW)),
    "unfinished": lambda store: store.unfinished("acme", 10),
    "end_damaged": lambda store: store.end_damaged("an-id", FAILURE, NOW, NOW),
}


@pytest.mark.parametrize("asked", REQUESTS)
def test_what_the_table_refuses_is_counted_told_and_raised(asked: str, caplog: pytest.LogCaptureFixture) -> None:
    refusal, meter = ServiceRefused("The table refused the request: AccessDeniedException."), MemoryMeter()
    with pytest.raises(ServiceRefused) as raised:
        REQUESTS[asked](ObservedStore(FailingTable(refusal), meter))
    assert raised.value is refusal
    assert meter.records == [{Measure.REFUSALS: 1}]
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [("ERROR", str(refusal))]


@pytest.mark.parametrize("asked", REQUESTS)
def test_a_table_that_does_not_answer_refuses_nothing(asked: str, caplog: pytest.LogCaptureFixture) -> None:
    meter = MemoryMeter()
    with pytest.raises(Unavailable):
        REQUESTS[asked](ObservedStore(FailingTable(Unavailable("The table did not answer.")), meter))
    assert (meter.records, caplog.records) == ([], [])


def test_what_is_read_is_what_the_table_holds(clock: HandSetClock) -> None:
    inner = MemoryJobStore(clock)
    inner.create(JOB, INPUT)
    inner.put_call(JOB, CALL)
    store = ObservedStore(inner, MemoryMeter())
    assert store.load("an-id") == inner.load("an-id") is not None
    assert store.load("an-id", "another tenant") is None
    assert store.jobs(["an-id"], "acme") == [JOB]
    assert store.titles(["an-id"], "acme") == {"an-id": INPUT.title}
    assert store.listed("acme", Filter(), None, 10) == Page([JOB], None)
    assert list(store.journal(JOB)) == [CALL]
    assert store.entries(JOB) == [CALL.without_body()]
    assert store.unfinished("acme", 10) == 1
    assert list(store.due(Status.PENDING, NOW + timedelta(days=1))) == ["an-id"]
    assert store.put_call(JOB, CALL.model_copy(update={"seconds": 2.0})) == CALL
