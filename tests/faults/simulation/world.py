"""The domain's ports over one shared truth, strict. Each request of a process is a stop, at which the schedule decides
what becomes of it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar

from crewrelay.crews.models.failures import explain
from crewrelay.jobs.errors import IdempotencyConflict, StaleWrite, Unavailable
from crewrelay.jobs.listing import Filter, Page, Position
from crewrelay.jobs.ports import Calls, JobRecord
from crewrelay.jobs.records.answer import Answer, File, Usage
from crewrelay.jobs.records.events import EventRow
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply, digest_of
from crewrelay.jobs.records.questions import Question
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.testing import MemoryJobStore
from tests.faults.simulation.account import Key, Run, Step
from tests.faults.simulation.strands import Fate, Process, Schedule

T = TypeVar("T")

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKENS = 10  # of a model's call


class Message(NamedTuple):
    job_id: str
    visible_at: datetime


class World:
    def __init__(self) -> None:
        self.schedule = Schedule(BEGIN)
        self.table = MemoryJobStore(lambda: self.schedule.now)
        self.queue: list[Message] = []
        self.crew_version = 1
        self.history: defaultdict[str, list[Step]] = defaultdict(list)
        self.runs: dict[Process, Run] = {}
        self.replies = 0
        self.broken: list[str] = []  # promises
        self.late: list[Callable[[], object]] = []  # requests that nobody waits for, and that may still arrive

    def arrives(self, late: Callable[[], object]) -> None:
        self.late.remove(late)
        with suppress(StaleWrite, IdempotencyConflict):
            late()

    @property
    def visible(self) -> list[Message]:
        return [message for message in self.queue if message.visible_at <= self.schedule.now]

    def job(self, job_id: str) -> Job:
        record = self.table.load(job_id)
        assert record
        return record.job

    def jobs(self) -> list[Job]:
        return [self.job(job_id) for job_id in self.history]


class Surprise(Exception):
    """What no library documents."""


class Table:
    """The JobStore port of one process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def create(self, job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        def write() -> Job:
            standing = self._world.table.create(job, job_input, subscriptions)
            self._world.history.setdefault(job.id, [])
            return standing

        return self._request("create", write)

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        return self._request("load", lambda: self._world.table.load(job_id, tenant))

    def jobs(self, job_ids: Sequence[str], tenant: str) -> list[Job]:
        return self._request("jobs", lambda: self._world.table.jobs(job_ids, tenant))

    def statuses(self, job_ids: Sequence[str], tenant: str) -> dict[str, Status]:
        return self._request("statuses", lambda: self._world.table.statuses(job_ids, tenant))

    def listed(self, tenant: str, wanted: Filter, after: Position | None, limit: int) -> Page:
        return self._request("listed", lambda: self._world.table.listed(tenant, wanted, after, limit))

    def titles(self, job_ids: Sequence[str], tenant: str) -> dict[str, str]:
        return self._request("titles", lambda: self._world.table.titles(job_ids, tenant))

    def save(self, before: Job, after: Job) -> None:
        def write() -> None:
            standing = self._world.job(after.id)
            self._world.table.save(before, after)
            if standing == after:
                return
            self._world.history[after.id].append(Step(self._process.name, standing, after))
            if after.status is Status.RUNNING and after.fence > standing.fence:
                self._world.runs[self._process] = Run(after)

        self._request("save", write)

    def delete(self, job: Job) -> None:
        raise NotImplementedError("nothing is deleted here")

    def put_answer(self, job: Job, answer: Answer) -> None:
        self._request("put answer", lambda: self._world.table.put_answer(job, answer))

    def put_question(self, job: Job, question_id: str, question: Question) -> None:
        self._request("put question", lambda: self._world.table.put_question(job, question_id, question))

    def put_file(self, job: Job, file: File) -> None:
        self._request("put file", lambda: self._world.table.put_file(job, file))

    def read_file(self, job: Job, file: File) -> bytes | str | None:
        return self._request("read file", lambda: self._world.table.read_file(job, file))

    def put_events(self, job: Job, row: EventRow) -> None:
        self._request("put events", lambda: self._world.table.put_events(job, row))

    def events(self, job: Job, after: int = 0) -> list[EventRow]:
        return self._request("events", lambda: self._world.table.events(job, after))

    def put_call(self, job: Job, call: Call) -> Call:
        return self._request("put call", lambda: self._world.table.put_call(job, call))

    def journal(self, job: Job) -> Iterator[Call]:
        def read() -> list[Call]:
            calls = list(self._world.table.journal(job))
            self._world.runs[self._process].known = {
                _as_asked(call, job) for call in calls if call.key not in job.discarded
            }
            return calls

        for call in self._request("journal", read):
            self._process.strand.stop("next page")
            yield call

    def entries(self, job: Job) -> Sequence[Call]:
        return self._request("entries", lambda: self._world.table.entries(job))

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        return self._request("due", lambda: self._world.table.due(status, moment))

    def delete_expired(self) -> int:
        return 0  # nothing expires here

    def end_damaged(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        raise NotImplementedError("nothing is damaged here")

    def unfinished(self, tenant: str, most: int) -> int:
        return self._request("unfinished", lambda: self._world.table.unfinished(tenant, most))

    def _request(self, at: str, execute: Callable[[], T]) -> T:
        fate = self._process.strand.stop(at)
        if fate not in (Fate.DONE, Fate.DOUBLED) and self._process in self._world.runs:
            self._world.runs[self._process].faults += 1
        if fate in (Fate.DELAYED, Fate.DOUBLED):
            self._world.late.append(execute)
        if fate is Fate.SURPRISE:
            raise Surprise
        if fate in (Fate.LOST, Fate.REFUSED, Fate.DELAYED):
            raise Unavailable("The table did not answer.")
        found = execute()
        if fate is Fate.REPLY_LOST:
            raise Unavailable("The table did not answer.")
        return found


def _as_asked(call: Call, job: Job) -> Key:
    """With its number in the script, which knows nothing of discarded replies."""
    discarded = (key.rpartition("#") for key in job.discarded)
    return call.digest, call.nth - sum(digest == call.digest and int(nth) < call.nth for digest, _, nth in discarded)


class Bell:
    """The Doorbell port of one process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None:
        fate = self._process.strand.stop("ring")
        if fate in (Fate.DONE, Fate.REPLY_LOST, Fate.DELAYED):
            self._world.queue.append(Message(job_id, self._world.schedule.now + delay))
        if fate is Fate.SURPRISE:
            raise Surprise
        if fate not in (Fate.DONE, Fate.DOUBLED):
            raise Unavailable("The queue did not answer.")

    def waiting(self) -> int:
        self._process.strand.stop("waiting bells")
        return len(self._world.visible)


class ScriptedCrew:
    """The Crew port of one process. No reply is like another, even to the same question, so that an answer tells which
    replies it was made of.
    """

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def fingerprint(self, job_input: JobInput) -> str:
        return f"crew-{self._world.crew_version}"

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        self._process.begin_crew()
        try:
            return Answer(text=self._text(job_input, calls), usage=Usage(model="scripted"))
        finally:
            self._process.end_crew()

    def explain(self, error: BaseException) -> Failure:
        return explain(error)

    def _text(self, job_input: JobInput, calls: Calls) -> str:
        said: list[str] = []
        try:
            whole = script(job_input)
            for number, at_once in enumerate(whole, 1):
                calls.begin_task(f"task {number}", "somebody", number, len(whole))
                said += self._process.together([partial(self._said, asked, calls) for asked in at_once])
                calls.end_task()
        except BaseException as error:
            calls.stop(error)
            raise
        return text_of(said)

    def _said(self, asked: "Asked", calls: Calls) -> str:
        kind, request, nth = asked
        if kind is Kind.HUMAN:
            return calls.ask(Question.model_validate(request)).model_dump_json()
        key = (digest_of(self._account.fingerprint, kind, request), nth)
        return calls.call(kind, request, lambda: self._ask(kind, key)).body

    @property
    def _account(self) -> Run:
        return self._world.runs[self._process]

    def _ask(self, kind: Kind, key: tuple[str, int]) -> Reply:
        broken = self._account.asks(key, self._world.job(self._account.job_id), self._process.clock())
        self._world.broken += broken
        fate = self._process.strand.stop(kind)
        if fate is Fate.REFUSED:
            raise PermissionError("refused for good")
        if fate is not Fate.DONE:
            raise ConnectionError("try again later")
        self._account.is_told(key)
        self._world.replies += 1
        return Reply(body=f"reply {self._world.replies}", prompt_tokens=TOKENS if kind is Kind.MODEL else 0)


Asked = tuple[Kind, dict[str, Any], int]  # kind, request, its number among identical ones


def script(job_input: JobInput) -> list[list[Asked]]:
    """It searches, asks its model so many things, two at a time, beside the first two a human, uses a tool, and asks
    the first one twice again.
    """
    models: list[Asked] = [
        (Kind.MODEL, {"asked": f"question {number}"}, 0) for number in range(int(str(job_input.inputs["calls"])))
    ]
    again = [[(kind, request, nth)] for kind, request, _ in models[:1] for nth in (1, 2)]
    pairs = [models[start : start + 2] for start in range(0, len(models), 2)]
    if question := job_input.inputs.get("question"):
        asked = Question(message="Is it good?", default="yes" if question == "with a default" else None)
        pairs[0].append((Kind.HUMAN, asked.model_dump(mode="json"), 0))
    return [[(Kind.RETRIEVAL, {"asked": "search"}, 0)], *pairs, [(Kind.TOOL, {"asked": "tool"}, 0)], *again]


def text_of(said: Sequence[str]) -> str:
    return ", ".join(said)


def answer_by_journal(job: Job, job_input: JobInput, journal: Sequence[Call]) -> str:
    """What a run that is told all that was journaled makes of it."""
    standing = {(call.digest, call.nth): call.reply.body for call in journal}
    return text_of(
        [
            standing[digest_of(job.fingerprint or "", kind, request), nth]
            for at_once in script(job_input)
            for kind, request, nth in at_once
        ]
    )


def model_calls(journal: Iterable[Call]) -> Counter[Kind]:
    return Counter(call.kind for call in journal)
