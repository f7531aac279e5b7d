"""template.yaml: valid by the three checks that find different errors, and true to the code that it deploys."""

import copy
import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, AliasPath
from pydantic_settings import BaseSettings

from crewrelay.aws import rows, tokens
from crewrelay.http.problems import MEDIA_TYPE, Problem, problem_of
from crewrelay.jobs import job as transitions
from crewrelay.jobs.access import Scope, Token
from crewrelay.jobs.errors import Unauthenticated
from crewrelay.jobs.job import JobInput
from crewrelay.jobs.policy import Policy
from crewrelay.local.resources import Template, load_template
from crewrelay.local.stack import CREW_ENVIRONMENT
from crewrelay.settings import (
    CallerSettings,
    IntakeSettings,
    JobSettings,
    ModelSettings,
    RunSettings,
    TableSettings,
    WorkerSettings,
)
from tests.processes import ROOT

TEMPLATE = ROOT / "template.yaml"
SAM = ROOT / ".venv-sam/bin"

# No credentials and nobody to ask for them: the checks need none, and would stall looking for some.
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "SAM_CLI_TELEMETRY": "0",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

# What SAM does to a template when it is deployed. Reads one, prints the other.
TRANSLATE = """
import json, sys
from samtranslator.translator.transform import transform
class NoManagedPolicies:
    def load(self):
        return {}
print(json.dumps(transform(json.load(sys.stdin), {}, NoManagedPolicies())))
"""

SETTINGS: dict[str, tuple[type[BaseSettings], ...]] = {
    "api": (CallerSettings,),
    "authorizer": (TableSettings,),
    "intake": (IntakeSettings,),
    "run": (RunSettings, ModelSettings),
    "worker": (WorkerSettings, ModelSettings),
    "sweeper": (JobSettings,),
}


@pytest.fixture
def template() -> Template:
    return load_template(TEMPLATE)


def resources(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Properties by logical id."""
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def functions(template: Template) -> dict[str, dict[str, Any]]:
    return resources(template, "AWS::Serverless::Function")


def command(home: Path, *arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """In a home of its own: what lies in the developer's, credentials too, has no say."""
    env = ENVIRONMENT | {"HOME": str(home)}
    return subprocess.run(arguments, env=env, input=given, capture_output=True, text=True, check=False)


Check = Callable[[Template, Path], "subprocess.CompletedProcess[str]"]


def sam_validate(template: Template, folder: Path) -> subprocess.CompletedProcess[str]:
    return command(folder, SAM / "sam", "validate", "--template", written(template, folder))


def sam_validate_lint(template: Template, folder: Path) -> subprocess.CompletedProcess[str]:
    return command(folder, SAM / "sam", "validate", "--lint", "--template", written(template, folder))


def deployable(template: Template) -> Template:
    """As `sam package` leaves it."""
    template = copy.deepcopy(template)
    for name, properties in functions(template).items():
        template["Resources"][name].pop("Metadata", None)
        if properties.get("PackageType") == "Image":
            properties["ImageUri"] = "123456789012.dkr.ecr.us-east-1.amazonaws.com/crewrelay:crew"
        else:
            properties["CodeUri"] = "s3://bucket/key"
    return template


def translate_and_lint(template: Template, folder: Path) -> subprocess.CompletedProcess[str]:
    translated = command(folder, SAM / "python", "-c", TRANSLATE, given=json.dumps(deployable(template)))
    if translated.returncode:
        return translated
    path = folder / "translated.json"
    path.write_text(translated.stdout)
    return command(folder, SAM / "cfn-lint", path)


def written(template: Template, folder: Path) -> Path:
    path = folder / "template.json"
    path.write_text(json.dumps(template))
    return path


@pytest.mark.parametrize("arguments", [[], ["--lint"]], ids=["sam validate", "sam validate --lint"])
def test_the_file_is_valid_as_it_stands(tmp_path: Path, arguments: list[str]) -> None:
    result = command(tmp_path, SAM / "sam", "validate", "--template", TEMPLATE, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_the_template_becomes_is_valid(template: Template, tmp_path: Path) -> None:
    result = translate_and_lint(template, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def event_property_typo(template: Template) -> None:
    event = functions(template)["WorkerFunction"]["Events"]["Jobs"]["Properties"]
    event["BatchSise"] = event.pop("BatchSize")


def unknown_event_type(template: Template) -> None:
    functions(template)["WorkerFunction"]["Events"]["Jobs"]["Type"] = "SQSS"


def unknown_output(template: Template) -> None:
    template["Outputs"]["JobQueueUrl"]["Value"] = {"Ref": "Nothing"}


def unknown_variable(template: Template) -> None:
    functions(template)["IntakeFunction"]["Environment"]["Variables"]["CREWRELAY_INTAKE_DLQ_URL"] = {"Ref": "Nothing"}


def unknown_resource_of_policy(template: Template) -> None:
    (policy,) = functions(template)["ApiFunction"]["Policies"]
    policy["Statement"][0]["Resource"] = {"Ref": "Nothing"}


def unknown_queue_property(template: Template) -> None:
    resources(template, "AWS::SQS::Queue")["JobQueue"]["VisibilityTimeOut"] = 1


def unknown_runtime(template: Template) -> None:
    functions(template)["ApiFunction"]["Runtime"] = "python3.1"


def unknown_attribute(template: Template) -> None:
    queue = resources(template, "AWS::SQS::Queue")["JobQueue"]
    queue["RedrivePolicy"]["deadLetterTargetArn"] = {"Fn::GetAtt": ["JobDeadLetterQueue", "Arnn"]}


def short_visibility(template: Template) -> None:
    resources(template, "AWS::SQS::Queue")["JobQueue"]["VisibilityTimeout"] = 60


@pytest.mark.parametrize(
    ("check", "error", "said"),
    [
        (sam_validate, event_property_typo, "BatchSise"),
        (sam_validate, unknown_event_type, "SQSS"),
        (sam_validate_lint, unknown_output, "'Nothing' is not one of"),
        (sam_validate_lint, unknown_queue_property, "E3002"),
        (translate_and_lint, unknown_runtime, "E3030"),
        (translate_and_lint, unknown_attribute, "E1010"),
        (translate_and_lint, short_visibility, "E3505"),
        (translate_and_lint, unknown_variable, "'Nothing' is not one of"),
        (translate_and_lint, unknown_resource_of_policy, "'Nothing' is not one of"),
    ],
)
def test_a_check_finds_what_it_is_for(
    template: Template, tmp_path: Path, check: Check, error: Callable[[Template], None], said: str
) -> None:
    error(template)
    result = check(template, tmp_path)
    assert result.returncode != 0
    assert said in result.stdout + result.stderr


# ---- the functions


def entry_point(properties: dict[str, Any]) -> str:
    if properties.get("PackageType") == "Image":
        (handler,) = properties["ImageConfig"]["Command"]
        return str(handler)
    return str(properties["Handler"])


def test_every_handler_is_deployed_and_nothing_else(template: Template) -> None:
    handlers = sorted(f"{path.parent.name}.handler.handler" for path in (ROOT / "functions").glob("*/handler.py"))
    assert sorted(map(entry_point, functions(template).values())) == handlers


def test_light_functions_are_zips_and_heavy_ones_share_one_image_recipe(template: Template) -> None:
    recipes = set()
    for name, properties in functions(template).items():
        heavy = entry_point(properties).split(".")[0] in ("run", "worker")
        assert (properties.get("PackageType") == "Image") is heavy, name
        if heavy:
            metadata = template["Resources"][name]["Metadata"]
            recipes.add((metadata["DockerContext"], metadata["Dockerfile"], metadata["DockerTag"]))
        else:
            assert properties["Runtime"] == "python3.11"
            assert (ROOT / properties["CodeUri"]).is_dir()
    ((context, dockerfile, _),) = recipes
    assert (ROOT / context / dockerfile).is_file()


def variables_of(settings: type[BaseSettings]) -> dict[str, bool]:
    """The environment variables that a settings model reads; whether it must have them."""
    found = {}
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        assert not isinstance(alias, AliasPath | AliasChoices)
        found[alias or f"{settings.model_config['env_prefix']}{name}".upper()] = field.is_required()
    return found


def test_a_function_is_given_the_variables_that_its_settings_know_and_need(template: Template) -> None:
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    for name, properties in functions(template).items():
        known: dict[str, bool] = {}
        for settings in SETTINGS[entry_point(properties).split(".")[0]]:
            known |= variables_of(settings)
        given = shared | properties.get("Environment", {}).get("Variables", {})
        own = {variable for variable in given if variable.startswith("CREWRELAY_")}
        assert own - known.keys() <= shared.keys(), name
        assert {variable for variable, required in known.items() if required} - own == set(), name


# ---- the queues


def queue_of(template: Template, attribute: Any) -> dict[str, Any]:
    """The queue whose Arn this is."""
    name, arn = attribute["Fn::GetAtt"]
    assert arn == "Arn"
    return resources(template, "AWS::SQS::Queue")[name]


def sqs_events(template: Template) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each function that a queue invokes, with its event's properties."""
    return [
        (properties, event["Properties"])
        for properties in functions(template).values()
        for event in properties.get("Events", {}).values()
        if event["Type"] == "SQS"
    ]


def test_the_worker_and_the_intake_function_are_invoked_by_a_queue(template: Template) -> None:
    assert {entry_point(function).split(".")[0] for function, _ in sqs_events(template)} == {"worker", "intake"}


def test_a_message_stays_hidden_for_six_times_its_functions_timeout(template: Template) -> None:
    for function, event in sqs_events(template):
        assert queue_of(template, event["Queue"])["VisibilityTimeout"] >= 6 * function["Timeout"]


def test_every_batch_reports_its_failures_one_by_one(template: Template) -> None:
    for _, event in sqs_events(template):
        assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_dead_letter_queue_keeps_longer_than_the_queue_before_it(template: Template) -> None:
    redriven = [queue for queue in resources(template, "AWS::SQS::Queue").values() if "RedrivePolicy" in queue]
    assert len(redriven) == len(sqs_events(template))
    for queue in redriven:
        dead_letters = queue_of(template, queue["RedrivePolicy"]["deadLetterTargetArn"])
        assert dead_letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]


# ---- the table


NOW = datetime(2026, 1, 2, tzinfo=UTC)
INPUT = JobInput(crew="research", inputs={"topic": "t", "language": "en"})
PENDING = transitions.submit("an-id", "local", INPUT, NOW, Policy())
DONE = transitions.complete(transitions.claim(PENDING, "me", "crew-1", NOW, Policy()), NOW)


def job_item(job: transitions.Job) -> dict[str, Any]:
    return rows.key(job.id, "JOB") | rows.typed(rows.job_values(job))


@pytest.fixture
def table(template: Template) -> dict[str, Any]:
    (properties,) = resources(template, "AWS::DynamoDB::Table").values()
    return properties


def key_names(schema: list[dict[str, str]]) -> list[str]:
    return [key["AttributeName"] for key in schema]


def test_the_tables_keys_are_what_rows_are_written_under(table: dict[str, Any]) -> None:
    assert key_names(table["KeySchema"]) == list(rows.key("an-id", "JOB"))


def test_a_job_row_has_every_key_in_its_declared_type(table: dict[str, Any]) -> None:
    item = job_item(PENDING)
    for attribute in table["AttributeDefinitions"]:
        assert list(item[attribute["AttributeName"]]) == [attribute["AttributeType"]]


def test_only_jobs_that_have_not_ended_are_in_the_index_of_the_unfinished_with_their_keys_alone(
    table: dict[str, Any],
) -> None:
    (index,) = [index for index in table["GlobalSecondaryIndexes"] if index["IndexName"] == "unfinished"]
    (key,) = key_names(index["KeySchema"])
    assert job_item(PENDING)[key] == {"S": "local"}
    assert key not in job_item(DONE)
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}


def test_only_rows_that_owe_something_are_in_the_due_index(table: dict[str, Any]) -> None:
    (keys,) = [key_names(i["KeySchema"]) for i in table["GlobalSecondaryIndexes"] if i["IndexName"] == "due"]
    assert keys == ["due_shard", "due_at"]
    assert set(keys) <= job_item(PENDING).keys()
    assert not set(keys) & job_item(DONE).keys()


def test_only_job_rows_are_in_the_indexes(table: dict[str, Any]) -> None:
    others = [rows.body_item(PENDING, "INPUT", {"body": b"{}"})]
    for index in table["GlobalSecondaryIndexes"]:
        assert set(key_names(index["KeySchema"])) <= job_item(PENDING).keys()
        assert not any(set(key_names(index["KeySchema"])) <= item.keys() for item in others)


def test_an_index_carries_attributes_that_job_rows_have(table: dict[str, Any]) -> None:
    for index in table["GlobalSecondaryIndexes"]:
        assert set(index["Projection"].get("NonKeyAttributes", [])) <= job_item(PENDING).keys()


def test_every_row_expires_by_the_tables_ttl_in_epoch_seconds(table: dict[str, Any]) -> None:
    ttl = table["TimeToLiveSpecification"]
    assert ttl["Enabled"] is True
    for item in (job_item(PENDING), job_item(DONE), rows.body_item(PENDING, "INPUT", {"body": b"{}"})):
        assert int(item[ttl["AttributeName"]]["N"]) == (NOW + Policy().keep).timestamp()


# ---- who may call


@pytest.fixture
def api(template: Template) -> dict[str, Any]:
    return resources(template, "AWS::Serverless::Api")["Api"]


def translated(template: Template, folder: Path) -> dict[str, Any]:
    """The resources that SAM makes of it."""
    result = command(folder, SAM / "python", "-c", TRANSLATE, given=json.dumps(deployable(template)))
    assert result.returncode == 0, result.stderr
    made: dict[str, Any] = json.loads(result.stdout)["Resources"]
    return made


def test_every_path_but_those_that_say_nothing_of_jobs_asks_the_authorizer(template: Template, tmp_path: Path) -> None:
    body = translated(template, tmp_path)["Api"]["Properties"]["Body"]
    secured = {
        path: [list(need) for need in operation.get("security", [])]
        for path, item in body["paths"].items()
        for operation in item.values()
    }
    assert {path for path, needs in secured.items() if needs != [["Tokens"]]} == {
        "/",
        "/health",
        "/docs",
        "/openapi.json",
    }
    assert {"/crewai/run", "/crewai/run/async", "/{proxy+}"} <= secured.keys()
    scheme = body["components"]["securitySchemes"]["Tokens"]
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    assert authorizer["type"] == "request"
    assert authorizer["identitySource"] == "method.request.header.Authorization"
    assert 0 < authorizer["authorizerResultTtlInSeconds"] <= 60  # as `crewrelay token revoke` says


def test_the_authorizer_may_read_tokens_and_nothing_else(template: Template) -> None:
    (policy,) = functions(template)["AuthorizerFunction"]["Policies"]
    (statement,) = policy["Statement"]
    assert statement["Action"] == "dynamodb:GetItem"
    assert statement["Resource"] == {"Fn::GetAtt": ["JobsTable", "Arn"]}
    (prefix,) = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    token = Token(digest="d" * 64, tenant="a", scopes=frozenset(Scope), created_at=NOW, expires_at=NOW)
    assert fnmatchcase(tokens.key(token.digest)["pk"]["S"], prefix)
    assert not fnmatchcase(rows.key("an-id", "JOB")["pk"]["S"], prefix)


def test_what_counts_unfinished_jobs_may_query_their_index(template: Template) -> None:
    for name in ("ApiFunction", "RunFunction"):
        (policy,) = functions(template)[name]["Policies"]
        allowed = [s["Resource"] for s in policy["Statement"] if s["Action"] == "dynamodb:Query"]
        assert {"Fn::Sub": "${JobsTable.Arn}/index/unfinished"} in allowed, name


# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
STATUS_OF_KIND = {
    "ACCESS_DENIED": 403,
    "API_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "BAD_REQUEST_PARAMETERS": 400,
    "BAD_REQUEST_BODY": 400,
    "DEFAULT_4XX": 400,
    "DEFAULT_5XX": 500,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_API_KEY": 403,
    "INVALID_SIGNATURE": 403,
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "RESOURCE_NOT_FOUND": 404,
    "THROTTLED": 429,
    "UNAUTHORIZED": 401,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "WAF_FILTERED": 403,
}


def test_whatever_the_gateway_refuses_itself_is_a_problem(api: dict[str, Any]) -> None:
    said = api["GatewayResponses"]
    for kind, usual in STATUS_OF_KIND.items():
        response = said.get(kind) or said["DEFAULT_4XX" if usual < 500 else "DEFAULT_5XX"]
        (text,) = response["ResponseTemplates"].values()
        body = Problem.model_validate_json(text)
        headers = response["ResponseParameters"]["Headers"]
        assert headers["Content-Type"] == f"'{MEDIA_TYPE}'"
        assert body.status == response["StatusCode"], kind
        assert body.status // 100 == usual // 100, kind
        assert (body.title, body.type.rpartition(":")[0]) == (
            HTTPStatus(body.status).phrase.replace("Request Entity Too Large", "Content Too Large"),
            "urn:crewrelay:problem",
        )
        assert body.detail
        assert body.remedy
        assert ("Retry-After" in headers) is (body.status == 503 or "repeat" in body.remedy or kind == "THROTTLED"), (
            kind
        )
    assert said.keys() <= STATUS_OF_KIND.keys()


def test_a_refused_token_is_refused_by_the_gateway_as_by_a_function(api: dict[str, Any]) -> None:
    response = api["GatewayResponses"]["UNAUTHORIZED"]
    own = problem_of(Unauthenticated("The request came without a valid token."))
    assert json.loads(response["ResponseTemplates"]["application/json"]) == json.loads(bytes(own.body))
    assert response["ResponseParameters"]["Headers"]["WWW-Authenticate"] == f"'{own.headers['www-authenticate']}'"


# ---- the image


def test_the_images_tools_are_pinned_and_uv_is_the_one_that_made_the_lock() -> None:
    dockerfile, makefile = (ROOT / "infra/Dockerfile").read_text(), (ROOT / "Makefile").read_text()
    (used,) = re.findall(r"\buv==([\d.]+)", dockerfile)
    (locked_by,) = re.findall(r"^UV_VERSION := ([\d.]+)$", makefile, re.MULTILINE)
    assert used == locked_by
    assert re.search(r"^awslambdaric==\d", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


def test_the_image_and_the_local_stack_set_the_same_for_crewai() -> None:
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    for name, value in CREW_ENVIRONMENT.items():
        assert f"{name}={value}" in dockerfile
