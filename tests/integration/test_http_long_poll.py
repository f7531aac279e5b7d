"""GET /crewai/status/{job_id}?wait=N, ETag and If-None-Match."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from threading import Thread
from typing import Any, cast

import httpx
import pytest
from starlette.testclient import TestClient

from crewrelay.http.api import create_api
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.services import Services
from crewrelay.http.status import etag_of
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job
from crewrelay.jobs.submission import Submission
from crewrelay.sqlite.batches import SqliteBatches
from crewrelay.sqlite.changes import Watch
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.doorbell import SqliteDoorbell
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.uploads import UPLOADS, DueUploads, FolderUploads
from crewrelay.system import new_id, utcnow
from tests.support.aws import aws_client
from tests.support.bill import Bill
from tests.support.fixtures import Figure, HandSetClock, Storage
from tests.support.http_apps import INPUT, LOCAL, POLICY, api_app, assert_problem, job_that_is
from tests.support.stored_jobs import FAILURE, call_of


class Hours:
    """Time passes while a caller waits, and no sooner; something may happen then."""

    def __init__(self, clock: HandSetClock) -> None:
        self._clock = clock
        self.events: list[Callable[[], Any]] = []
        self.pauses: list[float] = []

    def seen(self) -> int:
        return 0

    async def after(self, seen: int, seconds: float) -> None:
        self.pauses.append(seconds)
        self._clock.pass_(seconds=seconds)
        if self.events:
            self.events.pop(0)()


@pytest.fixture
def hours(clock: HandSetClock, monkeypatch: pytest.MonkeyPatch) -> Hours:
    monkeypatch.setattr("crewrelay.http.long_poll._LEAST_PAUSE", 0.0)
    return Hours(clock)


@pytest.fixture
def client(storage: Storage, clock: HandSetClock, hours: Hours) -> TestClient:
    return TestClient(api_app(storage, clock, changes=hours), raise_server_exceptions=False)


def renewed(storage: Storage, clock: HandSetClock, job: Job) -> Job:
    after = transitions.renew(job, clock(), POLICY)
    storage.store(clock).save(job, after)
    return after


def test_a_caller_waits_until_the_job_ends_and_no_longer(
    client: TestClient, storage: Storage, clock: HandSetClock, hours: Hours
) -> None:
    job, store = job_that_is("running", storage, clock), storage.store(clock)
    hours.events = [lambda: None, lambda: store.save(job, transitions.fail(job, FAILURE, clock()))]
    response = client.get(f"/crewai/status/{job.id}?wait=20")
    assert (response.status_code, response.json()["status"]) == (200, "failed")
    assert response.headers["preference-applied"] == "wait=20"
    assert "retry-after" not in response.headers
    assert len(hours.pauses) == 2
    assert client.get(f"/crewai/status/{job.id}?wait=20").json() == response.json()  # it has ended
    assert len(hours.pauses) == 2


def test_what_a_status_shows_ends_the_wait_and_a_lease_does_not(
    client: TestClient, storage: Storage, clock: HandSetClock, hours: Hours
) -> None:
    store, running = storage.store(clock), job_that_is("running", storage, clock)

    def renew() -> None:
        nonlocal running
        running = renewed(storage, clock, running)

    def pay() -> None:
        receipt = running.receipt.model_copy(update={"calls_paid": 1})
        store.put_call(running, call_of())
        store.save(running, transitions.paid(running, receipt, clock(), POLICY))

    hours.events = [renew, renew, pay]
    answer = client.get(f"/crewai/status/{running.id}?wait=20")
    assert (answer.json()["status"], answer.json()["receipt"]["calls_paid"]) == ("running", 1)
    assert answer.headers["retry-after"] == "0"
    assert hours.events == []


@pytest.mark.parametrize(("asked", "granted"), [("10", 10), ("27", 27), ("28", 27), ("86400", 27), ("9" * 30, 27)])
def test_a_wait_ends_before_the_gateway_does_and_the_caller_is_told_how_long_it_was(
    client: TestClient, storage: Storage, clock: HandSetClock, hours: Hours, asked: str, granted: int
) -> None:
    job, begun = job_that_is("running", storage, clock), clock()
    response = client.get(f"/crewai/status/{job.id}?wait={asked}")
    assert (response.status_code, response.json()["status"]) == (200, "running")
    assert response.headers["preference-applied"] == f"wait={granted}"
    assert clock() - begun == timedelta(seconds=granted)


@pytest.mark.parametrize("asked", ["-1", "1.5", "soon", "", "1e3", "9" * 5000])
def test_a_wait_that_is_none_is_refused(client: TestClient, storage: Storage, clock: HandSetClock, asked: str) -> None:
    job = job_that_is("running", storage, clock)
    problem = assert_problem(client.get(f"/crewai/status/{job.id}?wait={asked}"), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == ["wait"]


def test_a_status_that_is_known_is_not_sent_again(
    client: TestClient, storage: Storage, clock: HandSetClock, hours: Hours
) -> None:
    running = job_that_is("running", storage, clock)
    path = f"/crewai/status/{running.id}"
    etag = client.get(path).headers["etag"]
    running = renewed(storage, clock, running)
    for known in (etag, f'"another", {etag}', etag.removeprefix("W/"), "*"):
        same = client.get(path, headers={"If-None-Match": known})
        assert (same.status_code, same.content) == (304, b"")
        assert (same.headers["etag"], same.headers["retry-after"]) == (etag, "5")
    assert client.get(path, headers={"If-None-Match": 'W/"another"'}).status_code == 200
    storage.store(clock).save(running, transitions.cancel(running, clock()))
    changed = client.get(path, headers={"If-None-Match": etag})
    assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")
    assert changed.headers["etag"] != etag
    assert client.get(path, headers={"If-None-Match": changed.headers["etag"]}).status_code == 304
    assert hours.pauses == []


def test_a_change_between_two_waits_is_not_missed(
    client: TestClient, storage: Storage, clock: HandSetClock, hours: Hours
) -> None:
    pending = job_that_is("pending", storage, clock)
    path = f"/crewai/status/{pending.id}?wait=20"
    known = {"If-None-Match": client.get(f"/crewai/status/{pending.id}").headers["etag"]}
    claimed = transitions.claim(pending, "me", "crew-1", clock(), POLICY)
    storage.store(clock).save(pending, claimed)
    assert client.get(path, headers=known).json()["status"] == "running"
    assert hours.pauses == []
    same = client.get(path, headers={"If-None-Match": etag_of(storage.store(clock).jobs([pending.id], "local")[0])})
    assert (same.status_code, same.headers["preference-applied"]) == (304, "wait=20")
    assert sum(hours.pauses) == pytest.approx(20)


def test_an_unknown_job_is_not_waited_for(client: TestClient, hours: Hours) -> None:
    assert_problem(client.get("/crewai/status/nobodys?wait=20"), 404, "unknown_job")
    assert hours.pauses == []


def test_an_answer_at_a_url_that_expires_has_no_etag(
    client: TestClient, storage: Storage, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewrelay.aws.bodies.LARGEST_ANSWER", 10)
    response = client.get(f"/crewai/status/{job_that_is('completed', storage, clock).id}")
    assert response.json()["result_url"]
    assert "etag" not in response.headers


def test_waiting_costs_about_as_much_as_asking_every_five_seconds(
    client: TestClient, storage: Storage, clock: HandSetClock, emulator: str, figure: Figure
) -> None:
    job = job_that_is("running", storage, clock)
    bill = Bill(storage, aws_client("dynamodb", emulator))
    _, waited, _ = bill.of(lambda: client.get(f"/crewai/status/{job.id}?wait=27"))
    _, once, _ = bill.of(lambda: client.get(f"/crewai/status/{job.id}"))
    figure(f"a wait of 27 s: {waited:g} read units; a status every 5 s of them: {once * 27 / 5:g}")
    assert waited <= 1.25 * once * 27 / 5


# ---- on one machine


NOTHING = cast(Any, None)  # these tests call no route of webhooks


async def serving(database: Database, work: Callable[[httpx.AsyncClient, SqliteJobStore], Awaitable[None]]) -> None:
    store, doorbell = SqliteJobStore(database, utcnow), SqliteDoorbell(database, utcnow)
    submission = Submission(store, doorbell, utcnow, new_id, POLICY)
    long_poll = LongPoll(database.changes, utcnow, timedelta(seconds=27))
    intervention = Intervention(store, doorbell, utcnow, POLICY)
    kept, bells = SqliteBatches(database, utcnow), DueUploads(SqliteBatches(database, utcnow), utcnow)
    files = FolderUploads(database.path.parent / UPLOADS)
    batches = Batches(store, kept, files, submission, intervention, bells, utcnow, new_id, POLICY, bells)
    app = create_api(Services(submission, intervention, store, batches, long_poll, NOTHING, NOTHING), LOCAL)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        await work(client, store)


def keep_watch(watch: Watch) -> None:
    for _ in range(20):  # it returns at once when it is closed
        watch.wait()


def test_a_change_by_another_process_ends_the_wait_soon(database: Database, figure: Figure) -> None:
    another = Database(database.path)
    took: list[float] = []

    async def work(client: httpx.AsyncClient, store: SqliteJobStore) -> None:
        job_id = (await client.post("/crewai/run/async", json=INPUT.inputs)).json()["job_id"]
        waiting = asyncio.create_task(client.get(f"/crewai/status/{job_id}?wait=27"))
        while not database.changes._listeners:
            await asyncio.sleep(0.01)
        elsewhere, begun = SqliteJobStore(another, utcnow), time.monotonic()
        (job,) = elsewhere.jobs([job_id], "local")
        elsewhere.save(job, transitions.cancel(job, utcnow()))
        assert (await waiting).json()["status"] == "cancelled"
        took.append(time.monotonic() - begun)

    with closing(database.watch()) as watch:
        Thread(target=keep_watch, args=[watch], daemon=True).start()
        asyncio.run(serving(database, work))
    figure(f"told {took[0] * 1000:.0f} ms after the change")
    assert took[0] < 2  # less than the pause of who is not told


def test_those_who_wait_hold_no_thread(database: Database) -> None:
    async def work(client: httpx.AsyncClient, store: SqliteJobStore) -> None:
        job_id = (await client.post("/crewai/run/async", json=INPUT.inputs)).json()["job_id"]
        waiting = [asyncio.create_task(client.get(f"/crewai/status/{job_id}?wait=27")) for _ in range(100)]
        while len(database.changes._listeners) < 100:
            await asyncio.sleep(0.01)
        assert (await client.get(f"/crewai/status/{job_id}")).json()["status"] == "pending"
        assert not any(task.done() for task in waiting)
        assert (await client.post(f"/crewai/jobs/{job_id}/cancel")).status_code == 200
        database.changes.notify()
        answers = await asyncio.gather(*waiting)
        assert {answer.json()["status"] for answer in answers} == {"cancelled"}
        assert not database.changes._listeners

    asyncio.run(serving(database, work))


def test_a_change_since_the_look_is_not_waited_for(database: Database) -> None:
    changes = database.changes
    seen = changes.seen()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(changes.notify).result()
    begun = time.monotonic()
    asyncio.run(changes.after(seen, 60))
    asyncio.run(changes.after(changes.seen(), 0.05))
    assert time.monotonic() - begun < 30
