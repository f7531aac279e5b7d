"""Creates the table, queues and bucket from template.yaml, by the endpoint's CloudFormation."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

_STORAGE = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket")

Template = dict[str, Any]


def load_template(path: Path) -> Template:
    """Load the template, with short intrinsics (!Ref, !GetAtt …) in their long form."""
    template: Template = yaml.load(path.read_text(), _TemplateLoader)
    return template


def create_storage(client: "CloudFormationClient", template: Template, stack_name: str = "crewrelay") -> dict[str, str]:
    """Create the template's tables, queues and buckets if absent. Returns their names and URLs by logical id."""
    storage = {name: r for name, r in template["Resources"].items() if r["Type"] in _STORAGE}
    body = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": template.get("Parameters", {}),  # each has a default
        "Resources": storage,
    }
    with contextlib.suppress(client.exceptions.AlreadyExistsException):
        client.create_stack(StackName=stack_name, TemplateBody=json.dumps(body))
    client.get_waiter("stack_create_complete").wait(StackName=stack_name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    resources = client.describe_stack_resources(StackName=stack_name)["StackResources"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}


def environment(template: Template, function: str, physical_ids: dict[str, str]) -> dict[str, str]:
    """The environment variables of a function in the template that refer to storage."""
    variables: dict[str, Any] = {}
    for part in (template["Globals"]["Function"], template["Resources"][function]["Properties"]):
        variables |= part.get("Environment", {}).get("Variables", {})
    references = {name: value["Ref"] for name, value in variables.items() if isinstance(value, dict) and "Ref" in value}
    return {name: physical_ids[target] for name, target in references.items() if target in physical_ids}


class _TemplateLoader(yaml.SafeLoader):
    pass


def _intrinsic(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
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
