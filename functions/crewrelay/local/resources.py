"""Makes the table, the queues and the bucket from template.yaml, by the CloudFormation of the emulator they are in."""

import contextlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from crewrelay.local.own_aws import endpoints

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

_SERVICES = {"DYNAMODB": "AWS::DynamoDB::Table", "SQS": "AWS::SQS::Queue", "S3": "AWS::S3::Bucket"}

Template = dict[str, Any]


def load_template(path: Path) -> Template:
    """Load the template, with short intrinsics (!Ref, !GetAtt …) in their long form."""
    template: Template = yaml.load(path.read_text(), _TemplateLoader)
    return template


def create_at_endpoints(client: "Callable[[str], CloudFormationClient]", template: Template) -> dict[str, str]:
    """As `create_storage`, each service's part at its own endpoint. `client` makes the client of an endpoint."""
    named, made = endpoints(), dict[str, str]()
    for endpoint in dict.fromkeys(named.values()):
        types = {_SERVICES[service] for service in named if named[service] == endpoint}
        made |= create_storage(client(endpoint), template, types=types)
    return made


def create_storage(
    client: "CloudFormationClient",
    template: Template,
    stack_name: str = "crewrelay",
    types: Iterable[str] = tuple(_SERVICES.values()),
) -> dict[str, str]:
    """Create the template's tables, queues and buckets, unless they are there; their names and URLs by logical id."""
    storage = {name: r for name, r in template["Resources"].items() if r["Type"] in types}
    body = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": template.get("Parameters", {}),  # each has a default
        "Resources": storage,
    }
    with contextlib.suppress(client.exceptions.AlreadyExistsException):
        client.create_stack(StackName=stack_name, TemplateBody=json.dumps(body))
    client.get_waiter("stack_create_complete").wait(StackName=stack_name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    resources = client.describe_stack_resources(StackName=stack_name)["StackResources"]
    found = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    if missing := storage.keys() - found.keys():
        raise ValueError(f"the stack {stack_name} there has no {', '.join(sorted(missing))}: delete it")
    return {name: found[name] for name in storage}


def environment(template: Template, function: str, physical_ids: dict[str, str]) -> dict[str, str]:
    """The variables of a function in the template whose values are names and URLs of storage."""
    variables: dict[str, Any] = {}
    for part in (template["Globals"]["Function"], template["Resources"][function]["Properties"]):
        variables |= part.get("Environment", {}).get("Variables", {})
    references = {name: value["Ref"] for name, value in variables.items() if isinstance(value, dict) and "Ref" in value}
    return {name: physical_ids[target] for name, target in references.items() if target in physical_ids}


class _TemplateLoader(yaml.CSafeLoader):
    pass


def _intrinsic(loader: _TemplateLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_TemplateLoader.add_multi_constructor("!", _intrinsic)
