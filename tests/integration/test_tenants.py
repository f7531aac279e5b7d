"""One tenant never sees, changes or infers another's job: every operation of the OpenAPI document, with real tokens
through the authorizer, over the real store.
"""

import json
import re
import uuid
from datetime import timedelta
from itertools import chain, count, cycle
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from crewrelay.aws.batches import DynamoBatches
from crewrelay.aws.tokens import DynamoTokens
from crewrelay.events.authorizer import Authorizer
from crewrelay.jobs.access import Scope, issue
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, File, Source, Usage
from crewrelay.jobs.records.batch import Batch, BatchItem
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import Question
from crewrelay.jobs.submission import message_key
from crewrelay.local.authorization import Authorization
from crewrelay.local.resources import load_template
from crewrelay.local.stack import TEMPLATE
from crewrelay.system import utcnow
from tests.support.fixtures import Storage
from tests.support.http_apps import (
    REQUEST,
    ScriptedCrew,
    api_app,
    assert_problem,
    run_app,
    submission_of,
)

METHODS = {"get", "post", "put", "patch", "delete"}
TENANTS = ("acme", "zoo")
EVERY = frozenset(Scope)
NOBODYS = str(uuid.UUID(int=0))

_secrets = count(1)


class Operation(NamedTuple):
    method: str
    path: str
    document: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def scopes(self) -> list[str]:
        return re.findall(r"The token needs the scope `(\w+)`\.", self.document["description"])

    @property
    def of_a_job(self) -> bool:
        return "{" in self.path


class Service:
    """Both apps behind one gateway that asks the authorizer."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.tokens = DynamoTokens(storage.dynamodb, storage.table, utcnow)
        self.api = api_app(storage, anonymous=None)
        run = run_app(storage, ScriptedCrew(), anonymous=None)

        async def route(scope: Connection, receive: Receive, send: Send) -> None:
            await (run if scope["path"] == "/crewai/run" else self.api)(scope, receive, send)

        authorizer = Authorizer(self.tokens, utcnow)
        gateway = Authorization(route, lambda event, context: authorizer.answer(event), load_template(TEMPLATE))
        self._client = TestClient(gateway, raise_server_exceptions=False)
        self.operations = [
            Operation(method, path, document)
            for path, item in self.api.openapi()["paths"].items()
            for method, document in item.items()
            if method in METHODS
        ]
        self.operations.sort(key=lambda operation: operation.method == "delete")  # the others need the jobs

    def token(self, tenant: str, scopes: frozenset[Scope] = EVERY) -> str:
        end = utcnow() + timedelta(hours=1)
        return issue(self.tokens, tenant, scopes, utcnow(), end, lambda n: next(_secrets).to_bytes(n, "big"))[0]

    def ask(self, operation: Operation, token: str = "", job_id: str = NOBODYS, **headers: str) -> Any:
        """The operation, with a body that it takes."""
        bodies: dict[str, Any] = {
            "resume": {"id": QUESTION_ID, "feedback": "Good."},
            "submit_batch": {"items": [REQUEST]},
            "create_batch": {},
        }
        body = bodies.get(operation.document["operationId"], REQUEST) if "requestBody" in operation.document else None
        known = {"Authorization": f"Bearer {token}"} if token else {}
        path = operation.path.replace("{job_id}", job_id).replace("{message_id}", message_of(job_id))
        path = path.replace("{batch_id}", batch_of(job_id))
        path = path.replace("{number}", "1")
        assert "{" not in path, f"{path}: tell this test what stands for it"
        headers = known | headers
        return self._client.request(operation.method, path, json=body, headers=headers, follow_redirects=False)

    def job_rows(self) -> list[dict[str, Any]]:
        """And those of batches."""
        return [row for row in self.storage.rows() if row["pk"]["S"].startswith(("JOB#", "BATCH#"))]


@pytest.fixture
def service(storage: Storage) -> Service:
    return Service(storage)


QUESTION_ID = f"{'e' * 64}#0"


def traces(tenant: str) -> tuple[str, str, str]:
    """What stands in a tenant's jobs, and nowhere else: a topic, a result, a reason."""
    return f"the topic of {tenant}", f"the answer for {tenant}", f"what failed at {tenant}"


_messages: dict[str, str] = {}  # of the intake queue, by the id of their job


def message_of(job_id: str) -> str:
    return _messages.get(job_id, NOBODYS)


_batches: dict[str, str] = {}  # of the same tenant, by the id of a job


def batch_of(job_id: str) -> str:
    return _batches.get(job_id, NOBODYS)


def accepted(storage: Storage, tenant: str, job_input: JobInput) -> Job:
    """As if a message of the intake queue had asked for it. With it comes a batch, whose item was rejected."""
    message_id, batch_id, now = str(uuid.uuid4()), str(uuid.uuid4()), utcnow()
    job = submission_of(storage).accept(tenant, job_input, message_key(message_id))
    _messages[job.id], _batches[job.id] = message_id, batch_id
    items = (BatchItem(custom_id="one", rejection=traces(tenant)[0]),)
    batch = Batch(id=batch_id, tenant=tenant, digest="", created_at=now, expires_at=job.expires_at, items=items)
    DynamoBatches(storage.dynamodb, storage.table, utcnow).create(batch)
    return job


def jobs_of(storage: Storage, tenant: str) -> dict[Status, Job]:
    """One job in each state, with a journal."""
    topic, result, reason = traces(tenant)
    job_input = JobInput(crew="research", inputs={"topic": topic, "language": "en"})
    store, now, found = storage.store(utcnow), utcnow(), dict[Status, Job]()
    for status in Status:
        job = accepted(storage, tenant, job_input)
        if status in (Status.PENDING, Status.CANCELLED):
            ended = job if status is Status.PENDING else transitions.cancel(job, now)
        else:
            running = transitions.claim(job, "me", "crew-1", now, Policy())
            store.save(job, running)
            job = running
            reply = Reply(body=json.dumps(result), model="scripted/one")
            store.put_call(job, Call(digest="d" * 64, nth=0, kind=Kind.MODEL, seconds=1, at=now, reply=reply))
            source = Source(number=1, id="p1", title=result, url="https://example.org", text=result)
            store.put_question(job, QUESTION_ID, Question(message=reason, output=result))
            file = File(name="a", size=1, digest="d", content=b"a")
            store.put_file(job, file)
            usage = Usage(model="scripted/one")
            store.put_answer(job, Answer(text=result, sources=(source,), usage=usage, files=(file,)))
            ended = {
                Status.RUNNING: running,
                Status.WAITING: transitions.wait(running, QUESTION_ID, now, now + timedelta(days=7), Policy()),
                Status.COMPLETED: transitions.complete(running, now),
                Status.FAILED: transitions.fail(running, Failure(type="no_model", message=reason), now),
            }[status]
        store.save(job, ended)
        found[status] = ended
    return found


def leaks(text: str, tenant: str, jobs: dict[Status, Job]) -> list[str]:
    return [trace for trace in (*traces(tenant), tenant, *(job.id for job in jobs.values())) if trace in text]


def without_ids(text: str, job: Job) -> str:
    for own in (job.id, message_of(job.id), batch_of(job.id)):
        text = text.replace(own, NOBODYS)
    return text


def rung(storage: Storage) -> set[str]:
    """Every job id in the queue, which is empty then."""
    found = set[str]()
    while messages := storage.messages(storage.queue_url):
        found |= {message["Body"] for message in messages}
        for message in messages:
            storage.sqs.delete_message(QueueUrl=storage.queue_url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_no_operation_shows_changes_or_tells_of_another_tenants_job(service: Service, storage: Storage) -> None:
    jobs = {tenant: jobs_of(storage, tenant) for tenant in TENANTS}
    tokens = {tenant: service.token(tenant) for tenant in TENANTS}
    asked = 0
    for operation, (tenant, other) in zip(service.operations, cycle([TENANTS, TENANTS[::-1]]), strict=False):
        before = [row for row in service.job_rows() if row["tenant"]["S"] == other]
        if operation.of_a_job:
            code = "unknown_batch" if "{batch_id}" in operation.path else "unknown_job"
            none = assert_problem(service.ask(operation, tokens[tenant]), 404, code)
            for job in jobs[other].values():
                response = service.ask(operation, tokens[tenant], job.id)
                theirs = assert_problem(response, 404, code)
                assert without_ids(json.dumps(theirs), job) == json.dumps(none), operation.name
                told = (response.text + str(response.headers)).replace(job.id, "")
                assert leaks(told, other, jobs[other]) == [], operation.name
                asked += 1
        else:
            response = service.ask(operation, tokens[tenant])
            assert leaks(response.text + str(response.headers), other, jobs[other]) == [], operation.name
            asked += 1
        after = [row for row in service.job_rows() if row["tenant"]["S"] == other]
        assert after == before, operation.name
    assert not rung(storage) & {job.id for found in jobs.values() for job in found.values()}
    of_a_job = sum(operation.of_a_job for operation in service.operations)
    assert asked == of_a_job * len(Status) + len(service.operations) - of_a_job


def test_what_shows_nothing_to_another_tenant_shows_it_to_its_own(service: Service, storage: Storage) -> None:
    """Or the test above could not fail."""
    jobs, token = jobs_of(storage, "acme"), service.token("acme")
    shown: set[str] = set()
    for operation in service.operations:
        if operation.of_a_job:
            for job in jobs.values():
                response = service.ask(operation, token, job.id)
                assert response.status_code in (200, 202, 204, 307, 409) or operation.name.endswith("{number}"), (
                    operation.name
                )
                shown |= set(leaks(response.text, "acme", jobs))
    assert {*traces("acme"), *(job.id for job in jobs.values())} <= shown


def test_an_idempotency_key_is_a_tenants_own(service: Service, storage: Storage) -> None:
    """It tells another tenant neither that it was used nor with what."""
    starts = [one for one in service.operations if one.document["tags"] in (["jobs"], ["batches"])]
    starts = [operation for operation in starts if "requestBody" in operation.document and not operation.of_a_job]
    assert len(starts) >= 3
    theirs = service.token("acme")
    for operation in starts:
        key = f"the same for {operation.path}"
        first = service.ask(operation, theirs, **{"Idempotency-Key": key})
        before = [row for row in service.job_rows() if row["tenant"]["S"] == "acme"]
        mine = service.ask(operation, service.token("zoo"), **{"Idempotency-Key": key})
        assert (mine.status_code, mine.json().keys()) == (first.status_code, first.json().keys())
        name = "batch_id" if "batch_id" in first.json() else "job_id"
        assert mine.json()[name] != first.json()[name]
        assert [row for row in service.job_rows() if row["tenant"]["S"] == "acme"] == before
        again = service.ask(operation, theirs, **{"Idempotency-Key": key})
        assert again.json()[name] == first.json()[name]


def test_every_operation_asks_for_a_token_and_one_scope_but_those_that_say_nothing_of_jobs(service: Service) -> None:
    scopes = {operation.name: operation.scopes for operation in service.operations}
    assert [name for name, needed in scopes.items() if len(needed) != 1] == ["GET /", "GET /health"]
    known = {
        "POST /crewai/run": ["run"],
        "POST /crewai/run/async": ["run"],
        "GET /crewai/status/{job_id}": ["read"],
        "GET /crewai/messages/{message_id}": ["read"],
        "POST /crewai/run/batch": ["run"],
        "POST /crewai/batches": ["run"],
        "POST /crewai/batches/{batch_id}/start": ["run"],
        "GET /crewai/batches/{batch_id}": ["read"],
        "GET /crewai/batches/{batch_id}/results": ["read"],
        "POST /crewai/batches/{batch_id}/cancel": ["admin"],
        "GET /crewai/jobs": ["read"],
        "GET /crewai/jobs/{job_id}/calls": ["read"],
        "GET /crewai/jobs/{job_id}/events": ["read"],
        "DELETE /crewai/jobs/{job_id}": ["admin"],
        "GET /crewai/jobs/{job_id}/files/{number}": ["read"],
        "POST /crewai/jobs/{job_id}/cancel": ["admin"],
        "POST /crewai/jobs/{job_id}/retry": ["admin"],
        "POST /crewai/jobs/{job_id}/resume": ["run"],
    }
    assert scopes | known == scopes
    assert set(chain(*scopes.values())) == set(Scope)


def test_without_a_token_nothing_is_answered_and_nothing_written(service: Service) -> None:
    for operation in service.operations:
        for token in ("", "nonsense", "crt_" + "0" * 72):
            response = service.ask(operation, token)
            if operation.scopes:
                assert_problem(response, 401, "unauthenticated")
                assert response.headers["www-authenticate"] == "Bearer"
            else:
                assert response.status_code == 200
    assert service.job_rows() == []


def test_a_token_may_do_what_its_scopes_say_and_is_told_which_it_lacks(service: Service, storage: Storage) -> None:
    job = accepted(storage, "acme", JobInput(crew="research", inputs=REQUEST))
    before = service.job_rows()
    one = {scope: service.token("acme", frozenset({scope})) for scope in Scope}
    others = {scope: service.token("acme", EVERY - {scope}) for scope in Scope}
    for operation in filter(lambda operation: operation.scopes, service.operations):
        (scope,) = operation.scopes
        response = service.ask(operation, others[Scope(scope)], job.id)
        problem = assert_problem(response, 403, "missing_scope")
        assert f"the scope {scope}." in problem["detail"], operation.name
        assert f'scope="{scope}"' in response.headers["www-authenticate"]
    assert service.job_rows() == before
    assert storage.messages(storage.queue_url) == []
    for operation in filter(lambda operation: operation.scopes, service.operations):
        answer = service.ask(operation, one[Scope(operation.scopes[0])], job.id)
        if operation.name.endswith("{number}"):
            assert_problem(answer, 404, "unknown_file")
            continue
        assert answer.status_code in (200, 201, 202, 204, 409), (
            operation.name
        )  # what was cancelled can't be tried again
