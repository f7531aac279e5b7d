"""template.yaml and infra/operations.yaml are valid by checks that find different errors."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crewrelay.local.resources import Template
from crewrelay.local.stack import TEMPLATE
from tests.support.processes import ROOT
from tests.support.sam import SAM, TRANSLATE, command, deployable
from tests.support.template import OPERATIONS, functions, resources

Check = Callable[[Template, Path], "subprocess.CompletedProcess[str]"]


def sam_validate(template: Template, folder: Path) -> subprocess.CompletedProcess[str]:
    return command(folder, SAM / "sam", "validate", "--template", written(template, folder))


def sam_validate_lint(template: Template, folder: Path) -> subprocess.CompletedProcess[str]:
    return command(folder, SAM / "sam", "validate", "--lint", "--template", written(template, folder))


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
    functions(template)["IntakeFunction"]["Environment"]["Variables"]["CREWRELAY_INTAKE_DLQ_URL"] = {"Ref": "NoQueue"}


def unknown_resource_of_policy(template: Template) -> None:
    (policy,) = resources(template, "AWS::IAM::Role")["ApiRole"]["Policies"]
    policy["PolicyDocument"]["Statement"][0]["Resource"] = {"Ref": "NoTable"}


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
    ("check", "errors"),
    [
        (sam_validate, {event_property_typo: "BatchSise"}),
        (sam_validate, {unknown_event_type: "SQSS"}),
        (sam_validate_lint, {unknown_output: "'Nothing' is not one of", unknown_queue_property: "E3002"}),
        (
            translate_and_lint,
            {
                unknown_runtime: "E3030",
                unknown_attribute: "E1010",
                short_visibility: "E3505",
                unknown_variable: "'NoQueue' is not one of",
                unknown_resource_of_policy: "'NoTable' is not one of",
            },
        ),
    ],
)
def test_a_check_finds_what_it_is_for(
    template: Template, tmp_path: Path, check: Check, errors: dict[Callable[[Template], None], str]
) -> None:
    for error in errors:
        error(template)
    result = check(template, tmp_path)
    assert result.returncode != 0
    assert [said for said in errors.values() if said not in result.stdout + result.stderr] == []
