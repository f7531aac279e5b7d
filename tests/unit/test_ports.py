"""The names of metrics: dashboards and alarms of operators know them, so none is ever renamed."""

import re
from datetime import UTC, datetime

from crewrelay.jobs.ports import JobRecord, Measure
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.policy import Policy
from tests.support.processes import ROOT

METRICS = """
    JobsAccepted JobsCompleted JobsFailed JobsCancelled JobsOverdue TimeInQueue RunTime Relays Retries CrewsStuck
    Calls Replays Tokens CostUsd Sweeps Rung UploadsLate Deliveries DeliveriesFailed DeliveriesGivenUp Refusals
""".split()


def test_metrics_have_the_names_that_dashboards_know() -> None:
    assert [measure.value for measure in Measure] == METRICS


def test_the_page_for_operators_lists_the_same() -> None:
    page = (ROOT / "docs/observability.md").read_text()
    assert sorted(re.findall(r"^\| `([A-Z]\w+)` \| \w+ \|", page, re.MULTILINE)) == sorted(METRICS)


def test_a_jobs_record_has_no_address_of_its_answer_unless_that_is_too_large_to_pass_on() -> None:
    job_input = JobInput(crew="research", inputs={})
    job = transitions.submit("an-id", "acme", job_input, datetime(2026, 1, 2, tzinfo=UTC), Policy())
    assert JobRecord(job, job_input, None).answer_url is None
