"""infra/operations.yaml: what is watched is what is measured, and the runbook has all of it."""

import json
import re
from typing import Any

from crewrelay.aws.meter import NAMESPACE
from crewrelay.jobs.ports import Measure
from crewrelay.local.resources import Template
from tests.support.processes import ROOT
from tests.support.template import OPERATIONS, functions, resources


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
