"""GET /crewai/jobs over the real store: pages, filters, and cursors that are not the caller's."""

import base64
import random
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.listing import Position, cursor_of, position_of
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import REQUEST, anybody, api_app, assert_problem, job_that_is

STATES = ("pending", "running", "completed", "failed", "cancelled")


@pytest.fixture
def client(storage: Storage, clock: HandSetClock) -> TestClient:
    return TestClient(api_app(storage, clock), raise_server_exceptions=False)


def test_jobs_come_newest_first_page_by_page_with_their_state(
    client: TestClient, storage: Storage, clock: HandSetClock
) -> None:
    ids: list[str] = []
    for status in STATES:
        clock.pass_(seconds=1)
        ids.insert(0, job_that_is(status, storage, clock).id)
    first = client.get("/crewai/jobs", params={"limit": 3}).json()
    second = client.get("/crewai/jobs", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [job["job_id"] for job in first["jobs"] + second["jobs"]] == ids
    assert second["next_cursor"] is None
    failed = first["jobs"][1]
    assert (failed["status"], failed["crew"], failed["attempts"]) == ("failed", "research", 1)
    assert failed["error"]["message"] == "The model is gone."
    assert failed["timestamps"] == client.get(f"/crewai/status/{failed['job_id']}").json()["timestamps"]
    assert failed["title"] == REQUEST["topic"]
    assert "inputs" not in failed


def test_filters_select_jobs(client: TestClient, storage: Storage, clock: HandSetClock) -> None:
    jobs = {}
    for status in STATES:
        clock.pass_(seconds=1)
        jobs[status] = job_that_is(status, storage, clock)

    def listed(**asked: str) -> list[str]:
        return [job["status"] for job in client.get("/crewai/jobs", params=asked).json()["jobs"]]

    assert {status: listed(status=status) for status in STATES} == {status: [status] for status in STATES}
    assert listed(created_after=jobs["completed"].created_at.isoformat()) == ["cancelled", "failed"]
    assert listed(crew="research", status="failed", created_after="2026-01-01t00:00:00.5z") == ["failed"]
    assert listed(crew="another") == []


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "many"},
        {"status": "done"},
        {"created_after": "yesterday"},
        {"created_after": "0"},
        {"created_after": "2026-01-02T03:04:05"},
        {"created_after": "2026-13-02T03:04:05Z"},
    ],
    ids=lambda asked: "=".join(*asked.items()),
)
def test_a_question_that_breaks_a_rule_is_told_which(client: TestClient, asked: dict[str, str]) -> None:
    problem = assert_problem(client.get("/crewai/jobs", params=asked), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [*asked]


def forgeries(cursor: str) -> list[str]:
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    check, written = text.split(".", 1)
    rewritten = [f"{check}.{written}0", f"{'0' * 16}.{written}", written, f"{check}.1e999.x", f"{check}.", "."]
    noise = random.Random(7)
    return [
        *(base64.urlsafe_b64encode(each.encode()).decode() for each in rewritten),
        *(noise.randbytes(noise.randrange(1, 40)).hex() for _ in range(20)),
        *("", "x", "=", "ü", "../../", "\x00", cursor[:-2], cursor[::-1], "A" * 50_000),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ]


def test_a_cursor_that_was_forged_or_is_another_tenants_is_refused_and_shows_nothing(
    storage: Storage, clock: HandSetClock
) -> None:
    clients = {tenant: TestClient(api_app(storage, clock, anybody(tenant))) for tenant in ("acme", "zoo")}
    jobs = {tenant: [job_that_is("pending", storage, clock, tenant).id for _ in range(3)] for tenant in clients}
    cursors = {
        tenant: client.get("/crewai/jobs", params={"limit": 1}).json()["next_cursor"]
        for tenant, client in clients.items()
    }
    for tenant, other in (("acme", "zoo"), ("zoo", "acme")):
        for cursor in (cursors[other], *forgeries(cursors[tenant])):
            problem = assert_problem(
                clients[tenant].get("/crewai/jobs", params={"cursor": cursor}), 422, "invalid_request"
            )
            assert problem["detail"].startswith("cursor: ")
            assert not any(job_id in str(problem) for job_id in jobs[other])
        again = clients[tenant].get("/crewai/jobs", params={"cursor": cursors[tenant]})
        assert {job["job_id"] for job in again.json()["jobs"]} < set(jobs[tenant])


def test_a_place_that_is_made_up_with_a_right_checksum_shows_the_own_jobs_alone(
    storage: Storage, clock: HandSetClock
) -> None:
    """The checksum is no secret: who knows how it is made gains nothing."""
    theirs = job_that_is("pending", storage, clock, "zoo")
    mine = job_that_is("pending", storage, clock, "acme")
    clock.pass_(seconds=1)
    for position in (Position.of(theirs), Position(clock(), theirs.id), Position(clock(), "x#zoo#")):
        cursor = cursor_of("acme", position)
        page = TestClient(api_app(storage, clock, anybody("acme"))).get("/crewai/jobs", params={"cursor": cursor})
        assert page.status_code == 200
        assert {job["job_id"] for job in page.json()["jobs"]} <= {mine.id}


def test_a_cursor_is_its_position(clock: HandSetClock) -> None:
    positions: list[Any] = [Position(clock() + timedelta(microseconds=n), f"id.{n}") for n in (-1, 0, 1, 10**15)]
    assert [position_of("acme", cursor_of("acme", position)) for position in positions] == positions
    with pytest.raises(InvalidRequest):
        position_of("zoo", cursor_of("acme", positions[0]))
