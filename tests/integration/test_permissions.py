"""What each function may do, by template.yaml, is what its handler does, on the very resource that it does it to."""

import ast
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from crewrelay.aws import clients, rows
from crewrelay.aws.bedrock import BedrockClient
from crewrelay.aws.embeddings import BedrockEmbeddings
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.aws.tokens import DynamoTokens
from crewrelay.crews.models.models import Models
from crewrelay.jobs.access import Scope, issue
from crewrelay.jobs.errors import RetrievalUnavailable
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.batch import subject_id
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.records.questions import Question
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.local.resources import Template, environment
from crewrelay.settings import ModelSettings
from crewrelay.system import utcnow
from tests.support.aws import aws_client
from tests.support.aws_events import request_event, rest_event, sqs_event, sqs_record
from tests.support.deployed import Deployed, Operation
from tests.support.fixtures import Storage
from tests.support.http_apps import REQUEST
from tests.support.processes import ROOT
from tests.support.projects import little_flow, read_variables
from tests.support.template import functions

HOOK = {"webhook_url": "https://nobody.invalid/hook", "webhook_events": ["submitted", "claimed", "completed"]}
TOLD = REQUEST | HOOK

Permission = tuple[str, str]  # an action, and what the template calls that on which; of a table, whose rows: "T: JOB#*"

_QUEUE_INVOKES = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
_ALLOWED_BY = {"ListObjectsV2": "ListBucket", "HeadObject": "GetObject"}  # whose permission has another name
# To be told that there is no file yet, instead of a refusal.
_OF_UPLOADS = {"IntakeFunction": {("s3:ListBucket", "BodiesBucket: uploads/*")}}
VPC = "VpcPolicy"  # what Lambda does to a network; tests/integration/test_template_parameters.py has its test
_LOGS = {("logs:CreateLogStream", "Logs"), ("logs:PutLogEvents", "Logs")}

# What only the command line asks, with the credentials of whoever typed it; and Bedrock, which has a test of its own.
_NOT_BY_FUNCTIONS = {
    ("clients", "DescribeStackResource"),
    ("clients", "DescribeStacks"),
    *(("health", name) for name in ("DescribeTable", "GetQueueAttributes", "HeadBucket")),
    ("dead_letters", "ReceiveMessage"),
    ("dead_letters", "DeleteMessage"),
    *(("tokens", name) for name in ("PutItem", "Query", "UpdateItem")),
    ("embeddings", "InvokeModel"),
}


# ---- what is granted


def granted(template: Template, function: dict[str, Any]) -> set[Permission]:
    (role_name, _) = function["Role"]["Fn::GetAtt"]
    role = template["Resources"][role_name]["Properties"]
    documents = [policy["PolicyDocument"] for policy in role["Policies"]]
    shared = [
        template["Resources"][name] for policy in role["ManagedPolicyArns"] if (name := then(policy)["Ref"]) != VPC
    ]
    documents += [policy["Properties"]["PolicyDocument"] for policy in shared]
    return {
        (action, named(resource) + rows)
        for document in documents
        for statement in map(then, document["Statement"])
        for action in several(statement["Action"])
        for resource in several(statement["Resource"])
        for rows in rows_of(statement)
    }


def rows_of(statement: dict[str, Any]) -> list[str]:
    """The rows that a statement is about. To an action that names none IAM would say yes, but no such is granted."""
    match statement.get("Condition"):
        case None:
            return [""]
        case {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": prefixes}, **others} if not others:
            return [f": {prefix}" for prefix in prefixes]
        case {"StringLike": {"s3:prefix": prefix}, **others} if not others:
            return [f": {prefix}"]
    pytest.fail(f"what does {statement['Condition']} mean?")


def then(value: Any) -> Any:
    """What stands where a condition holds."""
    return value["Fn::If"][1] if isinstance(value, dict) and "Fn::If" in value else value


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def named(resource: Any) -> str:
    """A resource of the template, or what lies in it. Fails if it is anybody's."""
    match resource:
        case {"Fn::GetAtt": [str(name), "Arn"]} | {"Ref": str(name)}:
            return name
        case {"Fn::Sub": str(text)} if found := re.fullmatch(r"\$\{(\w+)\.Arn\}(/.+)", text):
            return found[1] + found[2]
    pytest.fail(f"{resource} is no resource of the template's own")


def test_a_wildcard_is_refused(template: Template) -> None:
    function = functions(template)["SweeperFunction"]
    role = template["Resources"][function["Role"]["Fn::GetAtt"][0]]["Properties"]
    for anybody in ("*", "arn:aws:s3:::*", {"Fn::Sub": "arn:aws:sqs:${AWS::Region}:*"}):
        role["Policies"][0]["PolicyDocument"]["Statement"][0]["Resource"] = anybody
        with pytest.raises(pytest.fail.Exception, match="no resource"):
            granted(template, function)


def test_no_action_is_a_wildcard(template: Template) -> None:
    for function in functions(template).values():
        assert not [action for action, _ in granted(template, function) if "*" in action]


def test_a_role_is_one_functions_own(template: Template) -> None:
    """With none, SAM would give it policies of AWS that hold on everything."""
    roles = [function["Role"]["Fn::GetAtt"][0] for function in functions(template).values()]
    assert len(set(roles)) == len(roles)


def test_no_function_may_write_a_token(template: Template) -> None:
    """Run and worker run the code of crews and their libraries: who could mint a token would be any tenant."""
    token_rows = ["TOKENS", "TOKEN#" + "d" * 64]
    for name, function in functions(template).items():
        for action, resource in granted(template, function):
            table, _, prefix = resource.partition(": ")
            if table == "JobsTable" and action != "dynamodb:GetItem":
                assert not [row for row in token_rows if fnmatchcase(row, prefix or "*")], (name, action)


# ---- what is done


class House:
    """The functions over one storage, each in a process of its own."""

    def __init__(self, template: Template, storage: Storage, emulator: str, crews: Path) -> None:
        self._template = template
        self._made = {
            "JobsTable": storage.table,
            "BodiesBucket": storage.bucket,
            "JobQueue": storage.queue_url,
            "JobDeadLetterQueue": storage.dlq_url,
            "IntakeQueue": storage.intake_queue_url,
            "IntakeDeadLetterQueue": storage.intake_dlq_url,
            "NotifyQueue": storage.notify_queue_url,
            "NotifyDeadLetterQueue": storage.notify_dlq_url,
        }
        self._emulator = emulator
        self._crews = read_variables(little_flow(crews, "return 'done'", "searching"), "SERPER_API_KEY")
        self._secrets = aws_client("secretsmanager", emulator)
        arns = {name: self._secret(name) for name in ("ModelSecretArn", "EmbedderSecretArn", "WeaviateSecretArn")}
        arns["CrewsSecretArn"] = self._secret("CrewsSecretArn", '{"SERPER_API_KEY": "a key of serper"}')
        self._made |= arns
        self._logical = {physical: logical for logical, physical in self._made.items()}
        self._running: dict[str, Deployed] = {}

    def _secret(self, name: str, value: str = "a key") -> str:
        arn: str = self._secrets.create_secret(Name=f"{name}-{id(self)}", SecretString=value)["ARN"]
        return arn

    def __getitem__(self, name: str) -> Deployed:
        """The function's handler, with the variables that the template gives it. Those of crews have large bodies."""
        if name not in self._running:
            aws = {
                "AWS_ENDPOINT_URL": self._emulator,
                "AWS_DEFAULT_REGION": "us-east-1",
                "CREWRELAY_CREWS": str(self._crews),
            }
            keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
            variables = environment(self._template, name, self._made) | aws | keys
            heavy = functions(self._template)[name].get("PackageType") == "Image"
            module = name.removesuffix("Function").lower()
            self._running[name] = Deployed(module, variables, *([0] if heavy else []))
        return self._running[name]

    def end(self) -> dict[str, list[Operation]]:
        self._secrets.close()
        return {name: function.end() for name, function in self._running.items()}

    def permission(self, operation: Operation) -> Iterator[Permission]:
        asked = operation.parameters
        if operation.name == "CreateBucket":  # as what botocore presigns a form
            yield "s3:PutObject", "BodiesBucket/uploads/*"
            return
        # SQS has one permission for a message and for a batch of them.
        name = _ALLOWED_BY.get(operation.name, operation.name.removesuffix("Batch"))
        action = f"{operation.service.replace('-', '')}:{name}"
        physical = asked.get("TableName") or asked.get("QueueUrl") or asked.get("Bucket") or asked.get("SecretId")
        for each in [physical] if physical else asked["RequestItems"]:
            yield from ((action, self._logical[each] + part) for part in parts(asked, each))


def parts(asked: dict[str, Any], physical: str) -> list[str]:
    """What of a table or a bucket is asked for, as `granted` has it."""
    match asked:
        case {"IndexName": index}:
            return [f"/index/{index}"]
        case {"Bucket": _, "Prefix": name}:
            return [f": {name.split('/')[0]}/*"]
        case {"Bucket": _, "Key": name}:
            return [f"/{name.split('/')[0]}/*"]
        case {"Key": key} | {"Item": key}:
            keys = [key["pk"]["S"]]
        case {"RequestItems": requests}:
            keys = [key["pk"]["S"] for key in requests[physical]["Keys"]]
        case {"KeyConditionExpression": condition, "ExpressionAttributeValues": values}:
            keys = [values[condition.removeprefix("pk = ").split()[0]]["S"]]
        case {"TableName": _}:
            pytest.fail(f"which rows does it ask for? {asked}")
        case _:
            return [""]
    return [f": {key.partition('#')[0]}#*" for key in keys]


@contextmanager
def house(
    template: Template, storage: Storage, emulator: str, crews: Path
) -> Iterator[tuple[House, dict[str, list[Operation]]]]:
    made, done = House(template, storage, emulator, crews), dict[str, list[Operation]]()
    try:
        yield made, done
    finally:
        done |= made.end()


def token(storage: Storage) -> str:
    """What an Authorization header bears."""
    tokens, now = DynamoTokens(storage.dynamodb, storage.table, utcnow), utcnow()
    return f"Bearer {issue(tokens, 'acme', frozenset(Scope), now, now + timedelta(hours=1), os.urandom)[0]}"


def call(
    function: Deployed, method: str, path: str, body: object = None, age: float = 0, **headers: str
) -> dict[str, Any]:
    path, _, query = path.partition("?")
    asked = rest_event(method, path, None if body is None else json.dumps(body), age=age)
    asked["multiValueQueryStringParameters"] = parse_qs(query) or None
    asked["requestContext"]["authorizer"] = {"tenant": "acme", "scopes": " ".join(Scope)}
    asked["multiValueHeaders"] |= {name.replace("_", "-"): [value] for name, value in headers.items()}
    answer = function(asked)
    told: dict[str, Any] = json.loads(answer["body"] or "{}")
    return told | {"status_code": answer["statusCode"]}


def submit(api: Deployed, key: str = "one") -> str:
    accepted = call(api, "POST", "/crewai/run/async", TOLD, Idempotency_Key=key)
    assert accepted["status_code"] == 202
    return str(accepted["job_id"])


def test_each_function_may_do_what_it_does_and_nothing_else(
    template: Template, storage: Storage, emulator: str, tmp_path: Path
) -> None:
    with house(template, storage, emulator, tmp_path) as (made, done):
        drive(made, storage)
    for name, function in functions(template).items():
        used = {permission for operation in done[name] for permission in made.permission(operation)}
        used |= from_aws(template, name) | _OF_UPLOADS.get(name, set())
        allowed = granted(template, function) - BEDROCK
        assert (name, used - allowed, allowed - used) == (name, set(), set())
    driven = {(operation.module, operation.name) for operations in done.values() for operation in operations}
    assert adapters_operations() - driven == _NOT_BY_FUNCTIONS


def drive(functions: House, storage: Storage) -> None:
    """Every function through all that its adapters ask of AWS."""
    let_in = functions["AuthorizerFunction"](request_event(token(storage)))
    assert let_in["context"]["tenant"] == "acme"
    api, worker, run = functions["ApiFunction"], functions["WorkerFunction"], functions["RunFunction"]
    job_id = submit(api)
    assert call(api, "POST", f"/crewai/jobs/{submit(api, 'another')}/cancel")["status"] == "cancelled"
    # Half a second after its free first call: relayed, and replayed from S3.
    assert worker(sqs_event(sqs_record(job_id)), seconds=30.5) == {"batchItemFailures": []}
    assert call(api, "GET", f"/crewai/status/{job_id}")["status"] == "pending"
    assert worker(sqs_event(sqs_record(job_id), sqs_record("no bell"))) == {"batchItemFailures": []}
    assert call(api, "GET", f"/crewai/status/{job_id}")["status"] == "completed"
    assert call(api, "GET", f"/crewai/jobs/{job_id}/calls")["calls"]
    assert call(api, "GET", "/crewai/jobs")["jobs"]
    batch = call(api, "POST", "/crewai/run/batch", {"items": [REQUEST]})["batch_id"]
    assert call(api, "GET", f"/crewai/batches/{batch}")["counts"]["pending"] == 1
    assert call(api, "DELETE", f"/crewai/jobs/{job_id}")["status_code"] == 204
    job_id = submit(api)
    assert worker(sqs_event(sqs_record(job_id))) == {"batchItemFailures": []}

    for age, status in ((26, "pending"), (0, "completed"), (0, "completed")):  # of its 27 seconds
        assert call(run, "POST", "/crewai/run", TOLD, age=age, Idempotency_Key="r")["status"] == status
    accepted = call(run, "POST", "/crewai/run", REQUEST, Prefer="respond-async")
    assert accepted["status_code"] == 202
    assert worker(sqs_event(sqs_record(accepted["job_id"]))) == {"batchItemFailures": []}  # its input is in S3

    intake, known = functions["IntakeFunction"], job_ids(storage)
    assert intake(sqs_event(sqs_record(json.dumps(TOLD), "m"), sqs_record("no request"))) == {"batchItemFailures": []}
    (orphan,) = job_ids(storage) - known
    leave_input_alone(storage, orphan)
    assert intake(sqs_event(sqs_record(json.dumps(REQUEST | {"topic": "another"}), "m"))) == {"batchItemFailures": []}
    assert orphan in job_ids(storage)
    ended = upload(api, intake, storage)

    # One that is overdue, one whose question has expired, and one that has ended: an index that lags may still have it.
    leave_question(storage, submit(api, "a fourth"))
    put_into_index(storage, submit(api, "a third"))
    put_into_index(storage, job_id)
    put_into_index(storage, job_id, "HOOK#000", "HOOK#0")
    assert functions["SweeperFunction"]({"source": "aws.events"})["rung"] == 2
    orphaned = leave_webhook_alone(storage)
    counted = rows.typed({"pk": f"BATCH#{ended}", "sk": "OUTCOMES#00000"})
    storage.dynamodb.update_item(  # as if an expired batch of the same id had left it
        TableName=storage.table,
        Key=counted,
        UpdateExpression="SET expires_at = :long_ago",
        ExpressionAttributeValues=rows.typed({":long_ago": 1}),
    )
    bells = [sqs_record(job_id), sqs_record(orphaned), sqs_record(subject_id(ended)), sqs_record("no notice")]
    assert functions["NotifierFunction"](sqs_event(*bells), seconds=90) == {"batchItemFailures": []}
    [told] = call(api, "GET", f"/crewai/jobs/{job_id}/deliveries")["webhooks"]
    assert [attempt["error"] for attempt in told["attempts"]] == ["the name could not be resolved"]
    assert call(api, "POST", f"/crewai/jobs/{job_id}/deliveries/redeliver")["status_code"] == 202
    [told] = call(api, "GET", f"/crewai/batches/{ended}/deliveries")["webhooks"]
    assert [attempt["error"] for attempt in told["attempts"]] == ["the name could not be resolved"]
    assert call(api, "POST", f"/crewai/batches/{ended}/deliveries/redeliver")["status_code"] == 202
    assert call(api, "POST", "/crewai/webhooks/secret/rotate")["previous"]


def upload(api: Deployed, intake: Deployed, storage: Storage) -> str:
    """A file becomes jobs, by a chain of two invocations, and is cancelled. Another is due and is left. Returns the id
    of the first, whose webhook is owed its end.
    """
    path = f"/crewai/batches?webhook_url={TOLD['webhook_url']}"
    first, second = (call(api, "POST", path)["batch_id"] for _ in range(2))
    for batch in (first, second):
        storage.s3.put_object(Bucket=storage.bucket, Key=f"uploads/{batch}.jsonl", Body=json.dumps(REQUEST))
        assert call(api, "POST", f"/crewai/batches/{batch}/start")["state"] == "expected"
    bell = sqs_event(sqs_record(json.dumps({"upload": first})))
    for seconds, state in ((20, "expected"), (60, "submitted")):
        assert intake(bell, seconds=seconds) == {"batchItemFailures": []}
        assert call(api, "GET", f"/crewai/batches/{first}")["state"] == state
    assert call(api, "POST", f"/crewai/batches/{first}/cancel")["state"] == "cancelling"
    assert intake(bell, seconds=60) == {"batchItemFailures": []}
    assert call(api, "GET", f"/crewai/batches/{first}")["counts"]["cancelled"] == 1
    storage.dynamodb.update_item(
        TableName=storage.table,
        Key=rows.typed({"pk": f"BATCH#{second}", "sk": "BATCH"}),
        UpdateExpression="SET due_at = :long_ago",
        ExpressionAttributeValues=rows.typed({":long_ago": 1}),
    )
    return str(first)


def job_ids(storage: Storage) -> set[str]:
    return {row["pk"]["S"].removeprefix("JOB#") for row in storage.rows() if row["sk"]["S"] == "JOB"}


def leave_input_alone(storage: Storage, job_id: str) -> None:
    """As if its submission had died between its two writes, and long ago."""
    storage.dynamodb.delete_item(TableName=storage.table, Key=rows.key(job_id, "JOB"))
    storage.dynamodb.update_item(
        TableName=storage.table,
        Key=rows.key(job_id, "INPUT"),
        UpdateExpression="ADD expires_at :earlier",
        ExpressionAttributeValues={":earlier": {"N": "-3600"}},
    )


def put_into_index(
    storage: Storage, job_id: str, sk: str = "JOB", shard: str = rows.due_shard(Status.PENDING, 0)
) -> None:
    storage.dynamodb.update_item(
        TableName=storage.table,
        Key=rows.key(job_id, sk),
        UpdateExpression="SET due_shard = :shard, due_at = :long_ago",
        ExpressionAttributeValues=rows.typed({":shard": shard, ":long_ago": 1}),
    )


def leave_question(storage: Storage, job_id: str) -> None:
    """One that nobody has answered in time."""
    store, then, policy, question_id = storage.store(utcnow), utcnow() - timedelta(hours=1), Policy(), f"{'d' * 64}#0"
    record = store.load(job_id)
    assert record
    running = transitions.claim(record.job, "one", "crew-1", then, policy)
    store.save(record.job, running)
    store.put_question(running, question_id, Question(message="Is it good?"))
    store.save(running, transitions.wait(running, question_id, then, then, policy))


def leave_webhook_alone(storage: Storage) -> str:
    """As if a submission had died long ago between its two writes. Returns the id of the job that there is not."""
    job_id, now = str(uuid.uuid4()), utcnow()
    webhook = Webhook(url="https://nobody.invalid/")
    orphan = Subscription(
        job_id=job_id,
        tenant="acme",
        number=0,
        webhook=webhook,
        created_at=now - timedelta(hours=2),
        expires_at=now + timedelta(days=1),
        due_at=now,
    )
    DynamoSubscriptions(storage.dynamodb, storage.table, utcnow).put(orphan)
    return job_id


def from_aws(template: Template, name: str) -> set[Permission]:
    """What AWS itself does in the function's name."""
    events = functions(template)[name].get("Events", {}).values()
    queues = {item["Properties"]["Queue"]["Fn::GetAtt"][0] for item in events if item["Type"] == "SQS"}
    return _LOGS | {(action, queue) for queue in queues for action in _QUEUE_INVOKES}


def adapters_operations() -> set[tuple[str, str]]:
    """Every operation that a module of crewrelay.aws has a request for, as its source says."""
    found = set()
    for path in (ROOT / "functions/crewrelay/aws").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                if name in ("get_paginator", "generate_presigned_url"):
                    name = ast.literal_eval(node.args[0])
                if operation := operations().get(name):
                    found.add((path.stem, operation))
    return found


@cache
def operations() -> Mapping[str, str]:
    """What boto3's methods are called in the services that the functions use."""
    services = ("dynamodb", "sqs", "s3", "secretsmanager", "bedrock-runtime", "cloudformation")
    clients = [aws_client(service, "http://127.0.0.1:9") for service in services]
    return {method: name for client in clients for method, name in client.meta.method_to_api_mapping.items()}


# ---- Bedrock, of which there is no double here: its clients are asked at a closed port


BEDROCK: set[Permission] = {("bedrock:InvokeModel", "BedrockModelArns")}
_NEEDS = {"InvokeModel": "bedrock:InvokeModel", "Converse": "bedrock:InvokeModel"}  # Converse has no action of its own


def test_the_crews_models_and_embedders_may_ask_bedrock(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    clients.bedrock.cache_clear()
    asked: list[str] = []
    settings = ModelSettings(CREWRELAY_MODEL="bedrock/amazon.nova-lite-v1:0")  # type: ignore[call-arg]
    for client in (clients.bedrock(settings.timeout), clients.bedrock()):
        client.meta.events.register("before-parameter-build", lambda model, **_: asked.append(model.name))
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        Models(settings, clients={"bedrock": BedrockClient})().call("Hello")
    with pytest.raises(RetrievalUnavailable):
        BedrockEmbeddings(clients.bedrock(), "amazon.titan-embed-text-v2:0")(["Hello"], "query")
    clients.bedrock.cache_clear()
    assert asked == ["Converse", "InvokeModel"]
    for name in ("RunFunction", "WorkerFunction"):
        allowed = granted(template, functions(template)[name]) & BEDROCK
        assert {action for action, _ in allowed} == {_NEEDS[operation] for operation in asked}
