"""Metrics in CloudWatch's Embedded Metric Format: whole lines, whoever writes beside."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from crewrelay.aws.meter import EmfMeter
from crewrelay.jobs.log_keys import logged_with
from crewrelay.jobs.ports import Measure


@pytest.fixture(autouse=True)
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_record_is_a_line_with_units_one_dimension_and_the_ids_beside(capsys: pytest.CaptureFixture[str]) -> None:
    before = time.time() * 1000
    with logged_with(job_id="j-1", tenant="acme"):
        EmfMeter().record({Measure.JOBS_COMPLETED: 1, Measure.RUN_TIME: 1500.5, Measure.COST_USD: 0.000042})
    (line,) = lines(capsys)
    (described,) = line["_aws"]["CloudWatchMetrics"]
    assert described == {
        "Namespace": "crewrelay",
        "Dimensions": [["service"]],
        "Metrics": [
            {"Name": "JobsCompleted", "Unit": "Count"},
            {"Name": "RunTime", "Unit": "Milliseconds"},
            {"Name": "CostUsd", "Unit": "None"},
        ],
    }
    assert (line["service"], line["job_id"], line["tenant"]) == ("crewrelay", "j-1", "acme")
    assert (line["JobsCompleted"], line["RunTime"], line["CostUsd"]) == ([1], [1500.5], [0.000042])
    assert before - 1 <= line["_aws"]["Timestamp"] <= time.time() * 1000


def test_threads_share_nothing_and_no_line_gets_into_another(capsys: pytest.CaptureFixture[str]) -> None:
    meter, times = EmfMeter(), 200

    def record(thread: int) -> None:
        for number in range(times):
            with logged_with(job_id=str(thread)):
                meter.record({Measure.TOKENS: thread * times + number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(8)))
    written = [(int(line["job_id"]), line["Tokens"]) for line in lines(capsys)]
    assert sorted(written) == [(thread, [thread * times + number]) for thread in range(8) for number in range(times)]


def test_powertools_own_switch_turns_them_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    EmfMeter().record({Measure.SWEEPS: 1})
    assert lines(capsys) == []


def test_a_job_does_not_fail_for_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    EmfMeter().record({Measure.SWEEPS: 1})
