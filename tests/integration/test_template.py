"""template.yaml and infra/operations.yaml: valid by checks that find different errors, true to the code and docs."""

import copy
import json
import math
import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import AliasChoices, AliasPath
from pydantic_settings import BaseSettings
from starlette.testclient import TestClient

from crewrelay.aws import rows, tokens
from crewrelay.aws.meter import NAMESPACE
from crewrelay.http.edge import with_cors
from crewrelay.http.problems import MEDIA_TYPE, Problem, problem_of
from crewrelay.jobs import job as transitions
from crewrelay.jobs.access import Scope, Token
from crewrelay.jobs.errors import Unauthenticated
from crewrelay.jobs.job import JobInput
from crewrelay.jobs.policy import Policy
from crewrelay.jobs.ports import Measure
from crewrelay.local.resources import Template, load_template
from crewrelay.local.stack import CREW_ENVIRONMENT
from crewrelay.settings import (
    CallerSettings,
    EmbedderSettings,
    GatewaySettings,
    IntakeSettings,
    JobSettings,
    ModelSettings,
    RetrievalSettings,
    RunSettings,
    StoreSettings,
    WorkerSettings,
)
from tests.support.processes import ROOT

TEMPLATE = ROOT / "template.yaml"
OPERATIONS = ROOT / "infra/operations.yaml"
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

CREW = (ModelSettings, EmbedderSettings, RetrievalSettings)
SETTINGS: dict[str, tuple[type[BaseSettings], ...]] = {
    "api": (CallerSettings,),
    "authorizer": (StoreSettings,),
    "intake": (IntakeSettings,),
    "run": (RunSettings, *CREW),
    "worker": (WorkerSettings, *CREW),
    "sweeper": (JobSettings,),
}


@pytest.fixture
def template() -> Template:
    return load_template(TEMPLATE)


@pytest.fixture
def operations() -> Template:
    return load_template(OPERATIONS)


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
    for properties in resources(template, "AWS::Serverless::Application").values():
        properties["Location"] = "https://s3.amazonaws.com/bucket/key"
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


def test_the_operations_file_is_valid_as_it_stands(tmp_path: Path) -> None:
    result = command(tmp_path, SAM / "cfn-lint", OPERATIONS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_check_is_told_to_overlook_anything(template: Template, operations: Template) -> None:
    assert "cfn-lint" not in template["Metadata"]
    assert "Metadata" not in operations
    assert not any("cfn-lint" in resource.get("Metadata", {}) for resource in template["Resources"].values())
    assert not list(ROOT.glob(".cfnlintrc*"))


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
    (policy,) = resources(template, "AWS::IAM::Role")["ApiRole"]["Policies"]
    policy["PolicyDocument"]["Statement"][0]["Resource"] = {"Ref": "Nothing"}


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
        own = {variable for variable in given if not variable.startswith("POWERTOOLS_")}
        assert own - known.keys() <= shared.keys(), name  # the authorizer needs no more than the table
        assert {variable for variable, required in known.items() if required} - own == set(), name


def test_no_function_can_use_up_the_concurrency_of_another(template: Template) -> None:
    reserved = {name: function["ReservedConcurrentExecutions"] for name, function in functions(template).items()}
    # What the gateway lets in at once may each ask who calls, and the API.
    assert reserved["AuthorizerFunction"] == reserved["ApiFunction"] == {"Ref": "ThrottleBurst"}
    assert reserved["RunFunction"] == {"Ref": "RunConcurrency"}
    defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
    numbers = [defaults[each["Ref"]] if isinstance(each, dict) else each for each in reserved.values()]
    (said,) = re.findall(r"reserves (\d+) of", (ROOT / "docs/deploy.md").read_text())
    assert sum(numbers) == int(said) < 900  # of an account's 1,000, of which Lambda keeps 100


LIMITS = {
    "CREWRELAY_MAX_CALLS": "MaxCalls",
    "CREWRELAY_MAX_TOKENS": "MaxTokens",
    "CREWRELAY_MAX_RUNTIME_SECONDS": "MaxRuntimeSeconds",
    "CREWRELAY_MAX_UNFINISHED": "MaxUnfinished",
}


def test_the_limits_are_parameters_and_the_codes_own_unless_told_otherwise(template: Template) -> None:
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    for name, properties in functions(template).items():
        known = [variables_of(settings) for settings in SETTINGS[entry_point(properties).split(".")[0]]]
        given = shared | properties.get("Environment", {}).get("Variables", {})
        for variable in LIMITS.keys() & {variable for each in known for variable in each}:
            assert given[variable] == {"Ref": LIMITS[variable]}, name
    for variable, parameter in LIMITS.items():
        field = CallerSettings.model_fields[variable.removeprefix("CREWRELAY_").lower()]
        assert template["Parameters"][parameter]["Default"] == field.default
        assert template["Parameters"][parameter]["MinValue"] == 1


def test_nothing_secret_is_resolved_into_the_templates() -> None:
    for path in (TEMPLATE, OPERATIONS):
        assert "{{resolve:" not in path.read_text()


def test_a_function_has_no_key_in_its_environment_but_where_to_fetch_it(template: Template) -> None:
    keys = [
        variable
        for settings in CREW
        for variable in variables_of(settings)
        if variable.endswith(("_API_KEY", "_API_KEY_SECRET"))
    ]
    for properties in functions(template).values():
        given = properties.get("Environment", {}).get("Variables", {})
        named = [variable for variable in keys if variable in given]
        assert all(variable.endswith("_SECRET") for variable in named)
        assert not named or len(named) == len(CREW)


def may_be(parameter: dict[str, Any], value: str) -> bool:
    """Whether a parameter's own rules allow the value."""
    if parameter["Type"] == "Number":
        within = parameter.get("MinValue", -math.inf) <= float(value) <= parameter.get("MaxValue", math.inf)
    else:
        within = re.fullmatch(parameter.get("AllowedPattern", ".*"), value) is not None
    return within and value in map(str, parameter.get("AllowedValues", [value]))


def test_every_parameter_has_a_default_that_its_own_rules_allow(template: Template) -> None:
    for name, parameter in template["Parameters"].items():
        assert may_be(parameter, str(parameter["Default"])), name


@pytest.mark.parametrize(
    ("parameter", "refused", "taken"),
    [
        ("Model", ["gpt-4o", ""], ["openai/gpt-4o", "bedrock/eu.amazon.nova-lite-v1:0"]),
        ("CorsOrigin", ["", "example.org", "https://example.org/", "https://a'b"], ["*", "http://localhost:3000"]),
        (
            "ModelSecretArn",
            ["my-secret", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:*"],
            ["", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:model-AbCdEf"],
        ),
        ("AlarmEmail", ["me"], ["", "me@example.org"]),
        ("WeaviateUrl", ["weaviate:8080"], ["", "https://weaviate.example.org"]),
    ],
)
def test_what_a_parameter_can_not_be_is_refused(
    template: Template, parameter: str, refused: list[str], taken: list[str]
) -> None:
    rules = template["Parameters"][parameter]
    assert not [value for value in refused if may_be(rules, value)]
    assert not [value for value in taken if not may_be(rules, value)]


def test_the_defaults_of_the_template_are_those_of_the_code(template: Template) -> None:
    parameters = template["Parameters"]
    assert parameters["Model"]["Default"] == ModelSettings.model_fields["name"].default
    assert parameters["Embedder"]["Default"] == EmbedderSettings.model_fields["name"].default
    assert parameters["WeaviateGrpcPort"]["Default"] == RetrievalSettings.model_fields["weaviate_grpc_port"].default
    assert parameters["IntegrationTimeout"]["Default"] == GatewaySettings.model_fields["gateway_limit"].default


def test_the_parameters_are_documented(template: Template) -> None:
    page = (ROOT / "docs/deploy.md").read_text().split("## Parameters", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    documented = {
        name: default.strip(" `").replace("–", "")
        for names, defaults in rows
        for name, default in zip(re.findall(r"`(\w+)`", names), defaults.split(", "), strict=True)
    }
    assert documented == {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}


def test_the_environments_of_samconfig_set_parameters_to_what_they_may_be(template: Template) -> None:
    environments = tomllib.loads((ROOT / "samconfig.toml").read_text())
    stacks = [environments[name]["deploy"]["parameters"] for name in ("dev", "prod")]
    assert stacks[0]["stack_name"] != stacks[1]["stack_name"]
    for stack in stacks:
        assert set(stack["capabilities"].split()) == {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}
        for setting in stack["parameter_overrides"].split():
            name, value = setting.split("=", 1)
            assert may_be(template["Parameters"][name], value), setting


def test_the_outputs_have_what_the_command_asks_for(template: Template) -> None:
    sources = [path.read_text() for path in (ROOT / "functions/crewrelay/cli").glob("*.py")]
    asked = {name for source in sources for name in re.findall(r'output\(stack, "(\w+)"\)', source)}
    assert asked
    assert asked <= template["Outputs"].keys()


# ---- the front


def test_what_no_path_of_its_own_has_goes_to_the_api_function(template: Template) -> None:
    events = functions(template)["ApiFunction"]["Events"].values()
    assert {"/", "/{proxy+}"} <= {event["Properties"]["Path"] for event in events}


def test_the_run_function_outlasts_the_longest_gateway(template: Template) -> None:
    assert functions(template)["RunFunction"]["Timeout"] > template["Parameters"]["IntegrationTimeout"]["MaxValue"]


def test_the_gateway_waits_as_long_as_the_run_function_is_told(template: Template) -> None:
    run = functions(template)["RunFunction"]
    assert template["Conditions"]["GatewayLimitIsRaised"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "IntegrationTimeout"}, 29]}]
    }
    assert run["Events"]["Run"]["Properties"]["TimeoutInMillis"] == {
        "Fn::If": ["GatewayLimitIsRaised", {"Fn::Sub": "${IntegrationTimeout}000"}, {"Ref": "AWS::NoValue"}]
    }
    assert run["Environment"]["Variables"]["CREWRELAY_GATEWAY_LIMIT"] == {"Ref": "IntegrationTimeout"}


def test_a_preflight_is_answered_as_the_apps_would(template: Template) -> None:
    cors = template["Resources"]["Api"]["Properties"]["Cors"]
    preflight = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = TestClient(with_cors("https://example.org", FastAPI())).options("/", headers=preflight)
    for said, header in (("AllowMethods", "methods"), ("AllowHeaders", "headers")):
        ours = cors[said].strip("'").split(",")
        app = answer.headers[f"access-control-allow-{header}"].split(", ")
        assert set(ours) == set(app) - {"Accept", "Accept-Language", "Content-Language"}  # which any page may send


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


def test_a_queue_invokes_no_more_than_are_reserved(template: Template) -> None:
    for function, event in sqs_events(template):
        assert event["ScalingConfig"]["MaximumConcurrency"] == function["ReservedConcurrentExecutions"]


def test_a_function_may_be_invoked_again_and_again_only_if_it_rings_the_queue_that_invokes_it(
    template: Template, tmp_path: Path
) -> None:
    """Lambda ends a chain of some 16 invocations otherwise, and a job of many relays is a longer one."""
    invoked_by = {entry_point(function): event["Queue"] for function, event in sqs_events(template)}
    made = translated(template, tmp_path)
    for name, function in functions(template).items():
        (policy,) = resources(template, "AWS::IAM::Role")[function["Role"]["Fn::GetAtt"][0]]["Policies"]
        statements = policy["PolicyDocument"]["Statement"]
        rung = json.dumps([each["Resource"] for each in statements if "sqs:SendMessage" in each["Action"]])
        recursive = json.dumps(invoked_by.get(entry_point(function))) in rung
        assert recursive is (name == "WorkerFunction"), name
        assert made[name]["Properties"].get("RecursiveLoop") == ("Allow" if recursive else None), name


def test_every_batch_reports_its_failures_one_by_one(template: Template) -> None:
    for _, event in sqs_events(template):
        assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_dead_letter_queue_keeps_longer_than_the_queue_before_it(template: Template) -> None:
    redriven = [queue for queue in resources(template, "AWS::SQS::Queue").values() if "RedrivePolicy" in queue]
    assert len(redriven) == len(sqs_events(template))
    for queue in redriven:
        dead_letters = queue_of(template, queue["RedrivePolicy"]["deadLetterTargetArn"])
        assert dead_letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]


# ---- the wire


def test_bucket_and_queues_refuse_whoever_comes_without_tls(template: Template) -> None:
    def refusal(actions: str, *parts: Any) -> dict[str, Any]:
        named = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": actions,
            "Resource": parts[0] if len(parts) == 1 else [*parts],
        }
        return named | {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}

    refused = {}
    for kind, what in (("AWS::S3::BucketPolicy", "Bucket"), ("AWS::SQS::QueuePolicy", "Queues")):
        for policy in resources(template, kind).values():
            (statement,) = policy["PolicyDocument"]["Statement"]
            (named,) = policy[what] if what == "Queues" else [policy[what]]
            refused[named["Ref"]] = statement
    queues = {name: refusal("sqs:*", {"Fn::GetAtt": [name, "Arn"]}) for name in resources(template, "AWS::SQS::Queue")}
    buckets = {
        name: refusal("s3:*", {"Fn::GetAtt": [name, "Arn"]}, {"Fn::Sub": f"${{{name}.Arn}}/*"})
        for name in resources(template, "AWS::S3::Bucket")
    }
    assert refused == queues | buckets


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
    (policy,) = resources(template, "AWS::IAM::Role")["AuthorizerRole"]["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "dynamodb:GetItem"
    assert statement["Resource"] == {"Fn::GetAtt": ["JobsTable", "Arn"]}
    (prefix,) = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    token = Token(digest="d" * 64, tenant="a", scopes=frozenset(Scope), created_at=NOW, expires_at=NOW)
    assert fnmatchcase(tokens.key(token.digest)["pk"]["S"], prefix)
    assert not fnmatchcase(rows.key("an-id", "JOB")["pk"]["S"], prefix)


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
        assert headers["Access-Control-Allow-Origin"] == api["Cors"]["AllowOrigin"]
        assert ("Retry-After" in headers) == ("'Retry-After'" in headers.get("Access-Control-Expose-Headers", "")), kind
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


# ---- alarms and the dashboard


def alarms(operations: Template) -> dict[str, dict[str, Any]]:
    return resources(operations, "AWS::CloudWatch::Alarm")


def alarm_metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of an alarm that are not worked out from others."""
    if "Metrics" not in alarm:
        return [alarm]
    return [metric["MetricStat"]["Metric"] for metric in alarm["Metrics"] if "MetricStat" in metric]


def dashboard(operations: Template) -> list[dict[str, Any]]:
    (properties,) = resources(operations, "AWS::CloudWatch::Dashboard").values()
    widgets: list[dict[str, Any]] = json.loads(properties["DashboardBody"]["Fn::Sub"])["widgets"]
    return [widget["properties"] for widget in widgets]


def test_the_operations_get_every_parameter_that_they_ask_for(template: Template, operations: Template) -> None:
    (application,) = resources(template, "AWS::Serverless::Application").values()
    assert application["Location"] == str(OPERATIONS.relative_to(ROOT))
    assert application["Parameters"].keys() == operations["Parameters"].keys()


def test_every_function_and_every_dead_letter_queue_has_an_alarm(template: Template, operations: Template) -> None:
    watched = [json.dumps(metric) for alarm in alarms(operations).values() for metric in alarm_metrics(alarm)]
    for name in functions(template):
        # To the authorizer, each token that it refuses is an error.
        for kind in ("Throttles",) if name == "AuthorizerFunction" else ("Errors", "Throttles"):
            assert any(f'"{kind}"' in metric and f'"Ref": "{name}"' in metric for metric in watched), (name, kind)
    for name in resources(template, "AWS::SQS::Queue"):
        assert any(f'"Ref": "{name}"' in metric for metric in watched), name


def test_what_alarms_and_dashboard_show_of_ours_is_what_is_measured(operations: Template) -> None:
    watched = {
        metric["MetricName"]
        for alarm in alarms(operations).values()
        for metric in alarm_metrics(alarm)
        if metric["Namespace"] == NAMESPACE
    }
    shown = set()
    for widget in dashboard(operations):
        namespace = name = ""
        for metric in widget.get("metrics", []):
            if metric[0] != "...":
                namespace = metric[0] if metric[0] != "." else namespace
                name = metric[1] if metric[1] != "." else name
                if namespace == NAMESPACE:
                    shown.add(name)
    assert watched <= shown <= set(Measure)
    assert set(Measure) - shown == {Measure.SWEEPS}  # a sweep is seen by what it rang for, if only zero


def test_our_own_metrics_are_those_of_this_stack(template: Template, operations: Template) -> None:
    service = template["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    (application,) = resources(template, "AWS::Serverless::Application").values()
    assert application["Parameters"]["ServiceName"] == service
    for alarm in alarms(operations).values():
        for metric in alarm_metrics(alarm):
            if metric["Namespace"] == NAMESPACE:
                assert metric["Dimensions"] == [{"Name": "service", "Value": {"Ref": "ServiceName"}}]


def test_every_alarm_tells_somebody_and_where_to_read_on(operations: Template) -> None:
    for name, alarm in alarms(operations).items():
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["AlarmDescription"].endswith(f" docs/operations.md#{name.lower()}")


def test_every_alarm_has_its_entry_in_the_runbook_with_its_three_questions(operations: Template) -> None:
    sections = re.split(r"^### ", (ROOT / "docs/operations.md").read_text(), flags=re.MULTILINE)[1:]
    entries = {section.splitlines()[0].strip(): section for section in sections}
    assert entries.keys() == alarms(operations).keys()
    for name, entry in entries.items():
        for question in ("**Means.**", "**Look at.**", "**Do.**"):
            assert question in entry, name


def test_every_alarm_is_on_the_dashboard(operations: Template) -> None:
    (shown,) = [widget["alarms"] for widget in dashboard(operations) if "alarms" in widget]
    assert {arn.removeprefix("${").removesuffix(".Arn}") for arn in shown} == alarms(operations).keys()


# ---- the image


def test_the_images_tools_are_pinned_and_uv_is_the_one_that_made_the_lock() -> None:
    dockerfile, makefile = (ROOT / "infra/Dockerfile").read_text(), (ROOT / "Makefile").read_text()
    (used,) = re.findall(r"\buv==([\d.]+)", dockerfile)
    (locked_by,) = re.findall(r"^UV_VERSION := ([\d.]+)$", makefile, re.MULTILINE)
    assert used == locked_by
    assert re.search(r"^awslambdaric==\d", (ROOT / "locks/requirements.lock").read_text(), re.MULTILINE)


def test_the_image_stands_on_one_base_that_nobody_can_change() -> None:
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    (base,) = re.findall(r"^ARG PYTHON=(.+)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["$PYTHON", "$PYTHON"]


def test_the_image_and_the_local_stack_set_the_same_for_crewai() -> None:
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    for name, value in CREW_ENVIRONMENT.items():
        assert f"{name}={value}" in dockerfile
