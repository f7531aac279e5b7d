"""What every job store promises of the list of a tenant's jobs."""

import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crewrelay.aws import listing, rows
from crewrelay.http.listing import MOST_JOBS
from crewrelay.jobs.listing import Filter, Page, Position
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.sqlite import schema
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import FAILURE, INPUT, POLICY, claimed, completed, damage, submitted

EVERY = Filter()


def of_tenant(store: JobStore, clock: HandSetClock, tenant: str = "acme", crew: str = "research") -> Job:
    job_input = INPUT.model_copy(update={"crew": crew})
    return store.create(transitions.submit(str(uuid.uuid4()), tenant, job_input, clock(), POLICY), job_input)


def pages(store: JobStore, wanted: Filter = EVERY, limit: int = 10, tenant: str = "acme") -> list[Page]:
    found = [store.listed(tenant, wanted, None, limit)]
    while after := found[-1].after:
        found.append(store.listed(tenant, wanted, after, limit))
    return found


def listed_ids(store: JobStore, wanted: Filter = EVERY, limit: int = 10, tenant: str = "acme") -> list[str]:
    return [job.id for page in pages(store, wanted, limit, tenant) for job in page.jobs]


def newest_first(jobs: list[Job]) -> list[str]:
    return [job.id for job in sorted(jobs, key=Position.of, reverse=True)]


@pytest.mark.parametrize("limit", [1, 7, 30, 100])
def test_each_job_of_the_tenant_is_listed_once_newest_first_in_pages(
    store: JobStore, clock: HandSetClock, limit: int
) -> None:
    jobs = []
    for number in range(30):
        clock.pass_(milliseconds=number % 3)  # some at the same time
        jobs.append(of_tenant(store, clock))
        of_tenant(store, clock, "another")
    assert listed_ids(store, limit=limit) == newest_first(jobs)
    assert all(len(page.jobs) <= limit for page in pages(store, limit=limit))
    assert pages(store, limit=limit)[-1].jobs  # no page after the last job
    assert listed_ids(store, tenant="nobody") == []


def test_a_job_is_listed_as_its_row_is_now(store: JobStore, clock: HandSetClock) -> None:
    job = claimed(store, submitted(store, clock), clock)
    failed = transitions.fail(job, FAILURE, clock())
    store.save(job, failed)
    assert store.listed("acme", EVERY, None, 10) == Page([failed], None)


def test_what_is_submitted_meanwhile_moves_no_page(store: JobStore, clock: HandSetClock) -> None:
    jobs = []
    for _ in range(12):
        clock.pass_(seconds=1)
        jobs.append(of_tenant(store, clock))
    first = store.listed("acme", EVERY, None, 5)
    clock.pass_(seconds=1)
    for _ in range(9):
        of_tenant(store, clock)
    second = store.listed("acme", EVERY, first.after, 5)
    assert [job.id for job in first.jobs + second.jobs] == newest_first(jobs)[:10]


def test_a_position_whose_job_is_gone_is_still_one(store: JobStore, clock: HandSetClock) -> None:
    older = of_tenant(store, clock)
    clock.pass_(seconds=5)
    of_tenant(store, clock)
    nobodys = Position(clock() - timedelta(seconds=1), str(uuid.uuid4()))
    assert store.listed("acme", EVERY, nobodys, 10) == Page([older], None)


def in_each_state(store: JobStore, clock: HandSetClock) -> dict[Status, Job]:
    jobs = {status: of_tenant(store, clock) for status in Status}
    found = {Status.PENDING: jobs[Status.PENDING]}
    for status in Status:
        if status is Status.PENDING:
            continue
        job = claimed(store, jobs[status], clock)
        ended = {
            Status.RUNNING: job,
            Status.WAITING: transitions.wait(job, "d#0", clock(), clock() + timedelta(hours=1), POLICY),
            Status.COMPLETED: completed(store, job, clock),
            Status.FAILED: transitions.fail(job, FAILURE, clock()),
            Status.CANCELLED: transitions.cancel(job, clock()),
        }[status]
        store.save(job, ended)
        found[status] = ended
    return found


def test_a_list_by_status_has_the_jobs_in_that_state(store: JobStore, clock: HandSetClock) -> None:
    jobs = in_each_state(store, clock)
    for status, job in jobs.items():
        assert store.listed("acme", Filter(status), None, 10) == Page([job], None)


def test_a_list_by_crew_and_status_and_time_has_what_fits_all(store: JobStore, clock: HandSetClock) -> None:
    early = [of_tenant(store, clock, crew=crew) for crew in ("research", "support")]
    boundary = clock()
    clock.pass_(seconds=1)
    late = [of_tenant(store, clock, crew=crew) for crew in ("research", "support")]
    cancelled = transitions.cancel(late[1], clock())
    store.save(late[1], cancelled)
    assert set(listed_ids(store, Filter(crew="support"))) == {early[1].id, late[1].id}
    assert set(listed_ids(store, Filter(created_after=boundary))) == {job.id for job in late}
    assert set(listed_ids(store, Filter(created_after=boundary - timedelta(seconds=1)), limit=3)) == {
        job.id for job in early + late
    }
    both = Filter(Status.CANCELLED, "support", boundary)
    assert store.listed("acme", both, None, 10) == Page([cancelled], None)
    assert listed_ids(store, Filter(Status.CANCELLED, "research")) == []
    assert listed_ids(store, Filter(crew="unheard-of")) == []


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "2300-01-01T00:00:00Z"])
@pytest.mark.parametrize("with_cursor", [False, True])
def test_any_time_may_be_asked_for(store: JobStore, clock: HandSetClock, time: str, with_cursor: bool) -> None:
    job = of_tenant(store, clock)
    moment = datetime.fromisoformat(time)
    after = Position(clock() + timedelta(seconds=1), "x") if with_cursor else None
    assert store.listed("acme", Filter(created_after=moment), after, 10).jobs == [job] * (moment < clock())


def test_an_expired_job_is_not_listed(store: JobStore, clock: HandSetClock) -> None:
    job = submitted(store, clock)
    store.save(job, transitions.cancel(job, clock()))
    clock.now = job.expires_at
    assert listed_ids(store) == []
    assert store.jobs([job.id], "acme") == []
    assert store.statuses([job.id], "acme") == {}


def test_the_rows_of_some_jobs_are_those_of_the_tenant_that_exist(store: JobStore, clock: HandSetClock) -> None:
    jobs = [of_tenant(store, clock) for _ in range(3)]
    theirs = of_tenant(store, clock, "another")
    asked = [*(job.id for job in jobs), theirs.id, str(uuid.uuid4()), "x" * 5000]
    assert sorted(store.jobs(asked, "acme"), key=Position.of) == sorted(jobs, key=Position.of)
    assert store.jobs([], "acme") == []
    assert store.statuses(asked, "acme") == {job.id: job.status for job in jobs}
    assert store.statuses([], "acme") == {}


def test_a_row_that_can_not_be_read_leaves_the_others_listed(
    request: pytest.FixtureRequest, store: JobStore, clock: HandSetClock
) -> None:
    if isinstance(store, MemoryJobStore):
        pytest.skip("has no rows")
    jobs = []
    for _ in range(4):
        clock.pass_(seconds=1)
        jobs.append(of_tenant(store, clock))
    damage(request, store, jobs[1], "row")
    assert listed_ids(store, limit=1) == newest_first([jobs[0], *jobs[2:]])


# ---- DynamoDB


def test_jobs_are_spread_over_every_shard_of_the_list(clock: HandSetClock) -> None:
    written = [rows.job_values(transitions.submit(f"job {n}", "acme", INPUT, clock(), POLICY)) for n in range(400)]
    for name, shards in (("listed", rows.LISTED_SHARDS), ("unfinished", rows.UNFINISHED_SHARDS)):
        keys = [values[name] for values in written]
        assert set(keys) == {f"acme#{number}" for number in range(shards)}
        assert max(map(keys.count, keys)) < 2 * 400 / shards


def test_a_page_reads_a_bounded_number_of_entries_however_few_fit(
    storage: Storage, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_MOST_READ", 2)
    monkeypatch.setattr(listing, "_MOST_FURTHER", 3)
    store, requests = storage.store(clock), list[dict[str, Any]]()
    rare = of_tenant(store, clock, crew="rare")
    for _ in range(60):
        clock.pass_(milliseconds=1)
        of_tenant(store, clock)
    storage.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.Query", lambda params, **_: requests.append(params)
    )
    found, asked, after = list[str](), list[int](), None
    while True:
        requests.clear()
        page = store.listed("acme", Filter(crew="rare"), after, 10)
        found += [job.id for job in page.jobs]
        asked.append(len(requests))
        if (after := page.after) is None:
            break
    assert found == [rare.id]
    assert len(asked) > 3
    assert max(asked) <= rows.LISTED_SHARDS + 3


# ---- SQLite


def test_jobs_of_a_file_of_the_version_before_are_listed(
    tmp_path: Path, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.db"
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])  # lists came with the fourth
        old = Database(path)
    jobs = []
    for number in range(3):
        clock.pass_(microseconds=number)
        job = transitions.submit(str(uuid.uuid4()), "acme", INPUT, clock(), POLICY)
        jobs.append(job)
        values = ("acme", "pending", 1, 0, 1, "acme", int(job.expires_at.timestamp() * 1_000_000))
        written = job.model_dump_json()
        with old.writing() as connection:
            connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (job.id, *values, written))
            connection.execute("INSERT INTO inputs VALUES (?, ?)", (job.id, INPUT.model_dump_json()))
    with old.writing() as connection:
        connection.execute("INSERT INTO jobs VALUES ('broken', 'acme', 'pending', 1, 0, 1, 'acme', 1, 'nonsense')")
    old.close()
    store = SqliteJobStore(Database(path), clock)
    assert listed_ids(store, Filter(crew="research"), limit=2) == newest_first(jobs)
    after = submitted(store, clock, JobInput(crew="research", inputs={}))
    assert listed_ids(store)[:1] == newest_first([*jobs, after])[:1]


def test_titles_are_those_of_the_tenants_own_jobs(store: JobStore, clock: HandSetClock) -> None:
    mine, theirs = of_tenant(store, clock), of_tenant(store, clock, "zoo")
    nameless = JobInput(crew="research", inputs={"count": 3})
    without = store.create(transitions.submit(str(uuid.uuid4()), "acme", nameless, clock(), POLICY), nameless)
    found = store.titles([mine.id, theirs.id, without.id, "nobody"], "acme")
    assert {job_id: title for job_id, title in found.items() if title} == {mine.id: INPUT.inputs["topic"]}
    assert store.titles([mine.id], "nobody") == {}


def test_titles_of_a_page_of_the_largest_inputs_fit_the_answers(storage: Storage, clock: HandSetClock) -> None:
    """BatchGetItem answers with at most 16 MB, and a row has 400 KB."""
    asked: list[int] = []

    class Table:
        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803
            asked.append(len(RequestItems[storage.table]["Keys"]))
            return {"Responses": {storage.table: []}}

    store = storage.store(clock)
    store._client = Table()  # type: ignore[assignment]
    store.titles([str(number) for number in range(MOST_JOBS)], "acme")
    assert (sum(asked), max(asked) * 400_000 <= 16_000_000) == (MOST_JOBS, True)
