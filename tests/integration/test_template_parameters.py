"""The parameters of template.yaml: their rules, their defaults, and what is said of them elsewhere."""

import math
import re
import tomllib
from typing import Any

import pytest

from crewrelay.local.resources import Template
from crewrelay.settings import EmbedderSettings, GatewaySettings, ModelSettings
from tests.support.processes import ROOT
from tests.support.template import functions


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
        (
            "WeaviateUrl",
            ["weaviate:8080", "https://me:secret@weaviate.example.org", "https://example.org/weaviate"],
            ["", "https://weaviate.example.org", "http://10.0.0.7:8080/"],
        ),
        (
            "WeaviateGrpcUrl",
            ["50051", "weaviate:50051"],
            ["", "https://grpc-abc.weaviate.cloud", "http://10.0.0.7:50051"],
        ),
        ("WeaviateReplicationFactor", ["0", "three"], ["", "3"]),
        ("SslCertFile", ["ca.pem"], ["", "/var/task/ca.pem"]),
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
    assert parameters["IntegrationTimeout"]["Default"] == GatewaySettings.model_fields["gateway_limit"].default


def test_only_what_runs_crews_is_in_the_vpc_and_none_of_its_code_may_change_the_network(template: Template) -> None:
    inside = {name for name, function in functions(template).items() if "VpcConfig" in function}
    assert inside == {"RunFunction", "WorkerFunction"}
    for name in inside:
        role = template["Resources"][functions(template)[name]["Role"]["Fn::GetAtt"][0]]["Properties"]
        assert {"Fn::If": ["InVpc", {"Ref": "VpcPolicy"}, {"Ref": "AWS::NoValue"}]} in role["ManagedPolicyArns"]
    statements = template["Resources"]["VpcPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    allowed, denied = statements
    assert {action.partition(":")[0] for action in allowed["Action"]} == {"ec2"}
    assert (denied["Effect"], denied["Action"], denied["Resource"]) == ("Deny", "ec2:*", "*")
    assert "lambda:SourceFunctionArn" in denied["Condition"]["ArnLike"]


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
    sources = [path.read_text() for path in (ROOT / "functions/crewrelay/cli").rglob("*.py")]
    asked = {name for source in sources for name in re.findall(r'output\(stack, "(\w+)"\)', source)}
    assert asked
    assert asked <= template["Outputs"].keys()
