"""MCP's tools and tasks over the real store and queue, around a crew that follows a script."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from jsonschema import validate
from starlette.testclient import TestClient

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.events.authorizer import Authorizer
from crewrelay.http.edge import Handler
from crewrelay.jobs.access import Scope, issue
from crewrelay.jobs.errors import BudgetExceeded
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput
from crewrelay.local.authorization import Authorization
from crewrelay.local.resources import load_template
from crewrelay.local.stack import TEMPLATE
from tests.support.aws_events import rest_event
from tests.support.crews import OwnCrews
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import (
    ANSWER,
    QUESTION_ID,
    REQUEST,
    ScriptedCrew,
    api_app,
    assert_untouched,
    execution_of,
    job_that_is,
    unreachable,
)
from tests.support.mcp import FORMS, TASKS, Mcp, headers, request

INVALID_PARAMS, INTERNAL_ERROR, MISSING_CAPABILITY = -32602, -32603, -32021
RESEARCH = {"name": "research", "arguments": REQUEST}
NOBODYS = "00000000-0000-0000-0000-000000000000"


class Worker:
    """Runs the queued jobs while a caller waits, if it has been told how; else only time passes."""

    def __init__(self, storage: Storage, clock: HandSetClock) -> None:
        self._storage = storage
        self._clock = clock
        self.script: Callable[[JobInput], Answer] | None = None

    def seen(self) -> int:
        return 0

    async def after(self, seen: int, seconds: float) -> None:
        self._clock.pass_(seconds=seconds)
        if self.script:
            for message in self._storage.messages(self._storage.queue_url):
                execution = execution_of(self._storage, ScriptedCrew(self.script), self._clock)
                execution.run(message["Body"], self._clock() + timedelta(minutes=5))


@pytest.fixture
def worker(storage: Storage, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr("crewrelay.http.long_poll._LEAST_PAUSE", 0.0)
    return Worker(storage, clock)


@pytest.fixture
def mcp(storage: Storage, clock: HandSetClock, worker: Worker) -> Mcp:
    return Mcp(TestClient(api_app(storage, clock, changes=worker), raise_server_exceptions=False))


def broken(_: JobInput) -> Answer:
    raise BudgetExceeded("The job has used up its calls.")


def conforms(mcp: Mcp, result: Any) -> dict[str, Any]:
    """The structured content, which is as the tools' schema says."""
    schemas = [tool["outputSchema"] for tool in mcp.result("tools/list")["tools"]]
    for schema in schemas:
        validate(result["structuredContent"], schema)
    structured: dict[str, Any] = result["structuredContent"]
    return structured


def test_a_crew_that_ends_in_time_answers_with_its_sources(mcp: Mcp, worker: Worker) -> None:
    worker.script = lambda _: ANSWER
    for capabilities in ({}, TASKS):  # one that ends at once is no task
        result = mcp.call("research", REQUEST, capabilities)
        assert result["resultType"] == "complete"
        assert result["isError"] is False
        assert result["content"][0]["text"] == ("A network learns [1].\n\nSources:\n[1] Networks https://example.org/n")
        structured = conforms(mcp, result)
        assert structured["answer"] == ANSWER.text
        assert structured["sources"] == [
            {"number": 1, "title": "Networks", "url": "https://example.org/n", "excerpt": ""}
        ]
        assert structured["usage"]["prompt_tokens"] == 20
        assert structured["usage"]["model"] == "scripted/one"


def test_a_crew_that_fails_is_a_result_that_a_model_can_read(mcp: Mcp, worker: Worker) -> None:
    worker.script = broken
    result = mcp.call("research", REQUEST)
    assert result["isError"] is True
    assert "used up its calls" in result["content"][0]["text"]
    assert conforms(mcp, result)["status"] == "failed"


def test_what_does_not_end_in_time_is_fetched_with_crew_result(mcp: Mcp, worker: Worker, clock: HandSetClock) -> None:
    before = clock()
    late = mcp.call("research", REQUEST)
    assert timedelta(seconds=26) < clock() - before <= timedelta(seconds=27)
    assert late["isError"] is False
    job_id = conforms(mcp, late)["job_id"]
    assert f"call crew_result with job_id {job_id}" in late["content"][0]["text"]
    still = mcp.call("crew_result", {"job_id": job_id})
    assert still["structuredContent"]["status"] == "pending"
    worker.script = lambda _: ANSWER
    assert conforms(mcp, mcp.call("crew_result", {"job_id": job_id}))["answer"] == ANSWER.text


def test_a_job_is_submitted_and_cancelled_by_tools(mcp: Mcp, storage: Storage) -> None:
    submitted = mcp.call("crew_submit", {"crew": "research", "inputs": REQUEST})
    job_id = conforms(mcp, submitted)["job_id"]
    assert [message["Body"] for message in storage.messages(storage.queue_url)] == [job_id]
    for _ in range(2):
        cancelled = mcp.call("crew_cancel", {"job_id": job_id})
        assert (cancelled["isError"], conforms(mcp, cancelled)["status"]) == (False, "cancelled")
    assert mcp.call("crew_result", {"job_id": job_id})["isError"] is True


def test_the_same_key_starts_one_job(mcp: Mcp, storage: Storage) -> None:
    key = {"crewrelay/idempotencyKey": "k1"}
    submission = {"crew": "research", "inputs": REQUEST}
    first, second = (mcp.call("crew_submit", submission, **key)["structuredContent"]["job_id"] for _ in range(2))
    assert first == second
    other = mcp.call("crew_submit", {"crew": "research", "inputs": REQUEST | {"language": "de"}}, **key)
    assert other["isError"] is True
    assert "key" in other["content"][0]["text"]
    wrong = mcp.call("crew_submit", submission, **{"crewrelay/idempotencyKey": "k" * 256})
    assert "255" in wrong["content"][0]["text"]
    assert len([row for row in storage.rows() if row["sk"]["S"] == "JOB"]) == 1


def test_arguments_that_are_wrong_are_told_to_the_model(mcp: Mcp, storage: Storage) -> None:
    wrong: list[tuple[str, Any, str]] = [
        ("research", {}, "inputs.topic"),
        ("research", REQUEST | {"topic": "a\x00b"}, "inputs.topic: must not contain control characters"),
        ("research", REQUEST | {"topic": 10**400}, "inputs.topic"),
        ("research", REQUEST | {"more": json.loads("[" * 100 + "]" * 100)}, "inputs.more"),
        ("crew_submit", {"crew": "research"}, "inputs"),
        ("crew_submit", {"crew": "nobody", "inputs": {}}, "must name a crew of this deployment"),
        ("crew_result", {"job_id": 5}, "job_id"),
        ("crew_result", {"job_id": NOBODYS, "wait": 5}, "wait"),
        ("crew_result", {"job_id": "\x00"}, "There is no job"),
        ("crew_cancel", {"job_id": NOBODYS}, "There is no job"),
        ("crew_answer", {"job_id": NOBODYS, "id": QUESTION_ID, "feedback": "Good."}, "There is no job"),
        ("crew_answer", {"job_id": NOBODYS, "id": QUESTION_ID}, "option"),
    ]
    for name, arguments, said in wrong:
        result = mcp.call(name, arguments)
        assert result["isError"] is True
        assert said in result["content"][0]["text"]
    assert_untouched(storage)


def test_a_task_is_there_from_the_moment_it_is_answered(mcp: Mcp, worker: Worker, clock: HandSetClock) -> None:
    task = mcp.call("research", REQUEST, TASKS)
    assert task["resultType"] == "task"
    assert "content" not in task
    assert task["ttlMs"] == 30 * 24 * 3600 * 1000
    got = mcp.result("tasks/get", {"taskId": task["taskId"]}, TASKS)
    assert got == {**task, "resultType": "complete"}
    assert got["status"] == "working"
    worker.script = lambda _: ANSWER
    mcp.call("crew_result", {"job_id": task["taskId"]})
    ended = mcp.result("tasks/get", {"taskId": task["taskId"]}, TASKS)
    assert ended["status"] == "completed"
    assert conforms(mcp, ended["result"])["answer"] == ANSWER.text
    assert ended["lastUpdatedAt"] > ended["createdAt"] == task["createdAt"]
    assert mcp.result("tasks/cancel", {"taskId": task["taskId"]}, TASKS) == {"resultType": "complete"}  # too late


def test_a_job_is_a_task_in_each_of_its_states(mcp: Mcp, storage: Storage, clock: HandSetClock) -> None:
    for status, told in {
        "pending": "working",
        "running": "working",
        "waiting": "input_required",
        "completed": "completed",
        "failed": "completed",
        "cancelled": "cancelled",
    }.items():
        job = job_that_is(status, storage, clock)
        task = mcp.result("tasks/get", {"taskId": job.id}, TASKS, FORMS)
        assert task["status"] == told
        assert ("result" in task) == (told == "completed")
        assert ("inputRequests" in task) == (told == "input_required")
        assert told != "completed" or task["result"]["isError"] == (status == "failed")
        assert mcp.result("tasks/cancel", {"taskId": job.id}, TASKS) == {"resultType": "complete"}
        after = mcp.result("tasks/get", {"taskId": job.id}, TASKS)["status"]
        assert after == ("completed" if told == "completed" else "cancelled")


def test_tasks_are_for_clients_that_know_them(mcp: Mcp) -> None:
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        response = mcp.answer(request(method, {"taskId": NOBODYS}))
        assert (response.status_code, response.json()["error"]["code"]) == (400, MISSING_CAPABILITY)
        assert response.json()["error"]["data"] == {"requiredCapabilities": TASKS}
        assert mcp.error(method, {"taskId": NOBODYS}, TASKS) == (400, INVALID_PARAMS)
        assert mcp.error(method, {"taskId": 5}, TASKS)[0] == 400


def test_a_human_answers_a_task(mcp: Mcp, storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("waiting", storage, clock)
    task = mcp.result("tasks/get", {"taskId": job.id}, TASKS, FORMS)
    form = task["inputRequests"][QUESTION_ID]
    assert form["method"] == "elicitation/create"
    assert form["params"]["message"] == "Is it good?\n\nA draft."
    assert form["params"]["requestedSchema"]["properties"]["option"]["enum"] == ["yes", "no"]
    answers: list[tuple[Any, str]] = [
        ({"other": {"action": "accept"}}, "input_required"),
        ({QUESTION_ID: {"action": "decline"}}, "input_required"),
        ({QUESTION_ID: {"action": "accept", "content": {"option": "yes"}}}, "working"),
        ({QUESTION_ID: {"action": "accept", "content": {"option": "no"}}}, "working"),  # it no longer waits
    ]
    for responses, status in answers:
        given = {"taskId": job.id, "inputResponses": responses}
        assert mcp.result("tasks/update", given, TASKS, FORMS) == {"resultType": "complete"}
        assert mcp.result("tasks/get", {"taskId": job.id}, TASKS, FORMS)["status"] == status


def test_an_answer_that_is_none_is_refused(mcp: Mcp, storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("waiting", storage, clock)
    options: list[Any] = ["maybe", 5, {}, "y" * 20_001]
    wrong = [5, None, {}, {"action": "maybe"}, *({"action": "accept", "content": {"option": one}} for one in options)]
    for response in ([], *({QUESTION_ID: one} for one in wrong)):
        given = {"taskId": job.id, "inputResponses": response}
        assert mcp.error("tasks/update", given, TASKS, FORMS) == (400, INVALID_PARAMS)
    assert mcp.result("tasks/get", {"taskId": job.id}, TASKS, FORMS)["status"] == "input_required"


def test_a_client_without_forms_is_not_sent_one(mcp: Mcp, storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("waiting", storage, clock)
    task = mcp.result("tasks/get", {"taskId": job.id}, TASKS)
    assert (task["status"], "inputRequests" in task) == ("working", False)
    assert "crew_answer" in task["statusMessage"]
    told = mcp.call("crew_result", {"job_id": job.id})
    assert conforms(mcp, told)["question"]["id"] == QUESTION_ID
    answer = {"job_id": job.id, "id": QUESTION_ID, "option": "yes"}
    assert mcp.call("crew_answer", answer)["structuredContent"]["status"] == "pending"
    assert mcp.call("crew_answer", answer)["isError"] is False
    assert mcp.call("crew_answer", answer | {"option": "no"})["isError"] is True


def test_a_call_asks_its_human_and_goes_on_with_the_answer(
    mcp: Mcp, storage: Storage, clock: HandSetClock, worker: Worker
) -> None:
    job = job_that_is("waiting", storage, clock)
    resumed = {**RESEARCH, "requestState": job.id}
    asked = mcp.result("tools/call", resumed, FORMS)
    assert (asked["resultType"], asked["requestState"]) == ("input_required", job.id)
    (key,) = asked["inputRequests"]
    declined = mcp.result("tools/call", {**resumed, "inputResponses": {key: {"action": "cancel"}}}, FORMS)
    assert "waits for a human's answer" in declined["content"][0]["text"]
    worker.script = lambda _: ANSWER
    accepted = {key: {"action": "accept", "content": {"option": "yes"}}}
    ended = mcp.result("tools/call", {**resumed, "inputResponses": accepted}, FORMS)
    assert ended["structuredContent"]["answer"] == ANSWER.text


def test_a_state_that_is_none_of_the_tools_is_refused(
    mcp: Mcp, storage: Storage, clock: HandSetClock, own_crews: OwnCrews
) -> None:
    states: list[Any] = [NOBODYS, "\x00", 5, {}]
    for state in states:
        assert mcp.error("tools/call", {**RESEARCH, "requestState": state}, FORMS) == (400, INVALID_PARAMS)
    assert_untouched(storage)
    own_crews.put("tales")
    research = job_that_is("waiting", storage, clock)
    assert mcp.error("tools/call", {"name": "tales", "requestState": research.id}, FORMS) == (400, INVALID_PARAMS)


def test_a_tenant_at_its_limit_is_told_so(storage: Storage, clock: HandSetClock, worker: Worker) -> None:
    mcp = Mcp(TestClient(api_app(storage, clock, most_unfinished=1, changes=worker)))
    assert mcp.call("research", REQUEST, TASKS)["resultType"] == "task"
    result = mcp.call("research", REQUEST | {"language": "de"}, TASKS)
    assert (result["resultType"], result["isError"]) == ("complete", True)
    assert "limit" in result["content"][0]["text"]


def test_an_outage_is_no_result(storage: Storage, clock: HandSetClock) -> None:
    with unreachable("dynamodb") as table:
        mcp = Mcp(TestClient(api_app(storage._replace(dynamodb=table), clock), raise_server_exceptions=False))
        response = mcp.answer(request("tools/call", RESEARCH))
    assert (response.status_code, response.json()["error"]["code"]) == (503, INTERNAL_ERROR)
    assert response.json()["id"] == 7
    assert int(response.headers["retry-after"]) > 0


class Tenants:
    """Clients with tokens, behind the authorizer."""

    def __init__(self, storage: Storage, clock: HandSetClock, worker: Worker) -> None:
        tokens = DynamoTokens(storage.dynamodb, storage.table, clock)
        authorizer = Authorizer(tokens, clock)
        api = api_app(storage, clock, anonymous=None, changes=worker)
        gateway = Authorization(api, lambda event, _: authorizer.answer(event), load_template(TEMPLATE))
        self._client = TestClient(gateway, raise_server_exceptions=False)
        self._tokens, self._clock = tokens, clock
        self._issued = 0

    def client(self, tenant: str, *scopes: Scope) -> Mcp:
        def random(length: int) -> bytes:
            self._issued += 1
            return self._issued.to_bytes(length, "big")

        now = self._clock()
        text, _ = issue(self._tokens, tenant, frozenset(scopes), now, now + timedelta(days=1), random)
        return Mcp(self._client, Authorization=f"Bearer {text}", Origin="https://app.example")


def job_rows(storage: Storage) -> list[Any]:
    return [row for row in storage.rows() if row["pk"]["S"].startswith("JOB")]


@pytest.fixture
def tenants(storage: Storage, clock: HandSetClock, worker: Worker) -> Tenants:
    return Tenants(storage, clock, worker)


def test_another_tenants_job_is_as_one_that_never_was(tenants: Tenants, storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("waiting", storage, clock, tenant="acme")
    before = job_rows(storage)
    zoo = tenants.client("zoo", *Scope)
    for name, more in {
        "crew_result": {},
        "crew_cancel": {},
        "crew_answer": {"id": QUESTION_ID, "option": "yes"},
    }.items():
        known, unknown = (
            zoo.answer(request("tools/call", {"name": name, "arguments": {"job_id": job_id, **more}}))
            for job_id in (job.id, NOBODYS)
        )
        assert (known.status_code, known.text.replace(job.id, NOBODYS)) == (200, unknown.text)
    accepted = {QUESTION_ID: {"action": "accept", "content": {"option": "yes"}}}
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        known, unknown = (
            zoo.answer(request(method, {"taskId": job_id, "inputResponses": accepted}, TASKS))
            for job_id in (job.id, NOBODYS)
        )
        assert (known.status_code, known.text.replace(job.id, NOBODYS)) == (400, unknown.text)
    state = {**RESEARCH, "requestState": job.id, "inputResponses": accepted}
    assert zoo.error("tools/call", state, FORMS) == (400, INVALID_PARAMS)
    assert job_rows(storage) == before
    assert tenants.client("acme", *Scope).result("tasks/get", {"taskId": job.id}, TASKS)["taskId"] == job.id


@pytest.mark.parametrize("status", ["waiting", "completed"])
def test_a_state_shows_a_job_only_to_who_knows_what_began_it(
    tenants: Tenants, storage: Storage, clock: HandSetClock, status: str
) -> None:
    starter = tenants.client("acme", Scope.RUN)
    resumed = {**RESEARCH, "requestState": job_that_is(status, storage, clock, tenant="acme").id}
    other = {"name": "research", "arguments": REQUEST | {"language": "de"}, "requestState": resumed["requestState"]}
    assert starter.error("tools/call", other, FORMS) == (400, INVALID_PARAMS)
    assert starter.result("tools/call", resumed, FORMS)


def test_a_token_needs_the_scopes_of_our_own_routes(tenants: Tenants, storage: Storage, clock: HandSetClock) -> None:
    job = job_that_is("waiting", storage, clock, tenant="acme")
    task, named = {"taskId": job.id}, {"job_id": job.id}
    calls: list[tuple[Scope | None, str, dict[str, Any]]] = [
        (None, "server/discover", {}),
        (Scope.READ, "tools/list", {}),
        (Scope.READ, "tasks/get", task),
        (Scope.READ, "tools/call", {"name": "crew_result", "arguments": named}),
        (Scope.RUN, "tools/call", RESEARCH),
        (Scope.RUN, "tools/call", {"name": "crew_submit", "arguments": {"crew": "research", "inputs": REQUEST}}),
        (Scope.RUN, "tools/call", {"name": "crew_answer", "arguments": {**named, "id": QUESTION_ID, "option": "no"}}),
        (Scope.RUN, "tasks/update", task),
        (Scope.ADMIN, "tools/call", {"name": "crew_cancel", "arguments": named}),
        (Scope.ADMIN, "tasks/cancel", task),
    ]
    without = {needed: tenants.client("acme", *(set(Scope) - {needed})) for needed in Scope}
    alone = {needed: tenants.client("acme", needed) for needed in Scope}
    for needed, method, params in calls:
        if needed is None:
            assert alone[Scope.ADMIN].answer(request(method, params)).status_code == 200
            continue
        refused = without[needed].answer(request(method, params, TASKS))
        assert (refused.status_code, refused.json()["id"]) == (403, 7), method
        assert f'scope="{needed}"' in refused.headers["www-authenticate"]
        assert alone[needed].answer(request(method, params, TASKS)).status_code == 200
        # A client of a handshake would drop its connection at a 403, with the other calls that are under way.
        older = without[needed].answer({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, {})
        assert older.status_code == 200
        assert older.json()["error"]["code"] < 0
    nobody = Mcp(without[Scope.RUN].client).answer(request("server/discover"))
    assert nobody.status_code == 401


def test_through_lambda_the_answer_is_json(handler: Handler) -> None:
    sent = request("tools/list")
    event = rest_event("POST", "/mcp", json.dumps(sent))
    event["multiValueHeaders"] |= {name: [value] for name, value in headers(sent).items()}
    answer = handler(event, None)
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    assert json.loads(answer["body"])["result"]["tools"]


def test_the_deadline_counts_from_when_the_gateway_got_the_request(handler: Handler) -> None:
    sent = request("tools/call", RESEARCH)
    event = rest_event("POST", "/mcp", json.dumps(sent), age=26.9)
    event["multiValueHeaders"] |= {name: [value] for name, value in headers(sent).items()}
    answer = json.loads(handler(event, None)["body"])["result"]
    assert (answer["structuredContent"]["status"], answer["isError"]) == ("pending", False)
