"""The queues of template.yaml, and the functions that they invoke."""

import json
from pathlib import Path
from typing import Any

import pytest

from crewrelay.aws import clients, dead_letters
from crewrelay.aws.health import stack_checks
from crewrelay.cli.operate.redrive import DeadLetterQueue, redrive
from crewrelay.local.resources import Template
from tests.support.sam import translated
from tests.support.template import entry_point, functions, resources


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


def test_the_worker_the_intake_and_the_notifier_are_invoked_by_a_queue(template: Template) -> None:
    assert {entry_point(function).split(".")[0] for function, _ in sqs_events(template)} == {
        "worker",
        "intake",
        "notifier",
    }


def test_a_message_stays_hidden_for_six_times_its_functions_timeout(template: Template) -> None:
    for function, event in sqs_events(template):
        assert queue_of(template, event["Queue"])["VisibilityTimeout"] >= 6 * function["Timeout"]


def test_a_queue_invokes_no_more_than_are_reserved(template: Template) -> None:
    for function, event in sqs_events(template):
        assert event["ScalingConfig"]["MaximumConcurrency"] == function["ReservedConcurrentExecutions"]


def test_a_function_may_be_invoked_again_and_again_only_if_it_rings_the_queue_that_invokes_it(
    template: Template, tmp_path: Path
) -> None:
    """Lambda ends a chain of some 16 invocations otherwise. Many relays are a longer one, and so is a long file."""
    invoked_by = {entry_point(function): event["Queue"] for function, event in sqs_events(template)}
    made = translated(template, tmp_path)
    for name, function in functions(template).items():
        (policy,) = resources(template, "AWS::IAM::Role")[function["Role"]["Fn::GetAtt"][0]]["Policies"]
        statements = policy["PolicyDocument"]["Statement"]
        rung = json.dumps([each["Resource"] for each in statements if "sqs:SendMessage" in each["Action"]])
        recursive = json.dumps(invoked_by.get(entry_point(function))) in rung
        assert recursive is (name in ("WorkerFunction", "IntakeFunction", "NotifierFunction")), name
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


def test_doctor_and_redrive_know_every_queue(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    redriven = set[str]()

    def resource(_: str, name: str) -> str:
        redriven.add(name)
        return name

    monkeypatch.setattr(clients, "resource", resource)
    monkeypatch.setattr(clients, "sqs", lambda: None)
    monkeypatch.setattr(dead_letters, "redrive", lambda *_: (0, 0))
    for queue in DeadLetterQueue:
        redrive(queue, "any", as_json=False)
    queues = resources(template, "AWS::SQS::Queue").keys()
    assert redriven == queues == queues & {name for name, _ in stack_checks("any")}


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
