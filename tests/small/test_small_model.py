"""A real model, as small as there is, from the topic to the end of the job: `make small-model`.

What it writes is worth nothing. That it is asked, answers, is counted and ends the job is what this shows.
"""

import os
from pathlib import Path

import pytest

from tests.support.fixtures import Figure
from tests.support.processes import ROOT, listening
from tests.support.stack import model_variables, running_stack
from tests.support.waiting import wait_until

PYTHON = Path(os.environ.get("SMALL_MODEL_PYTHON", ROOT / ".venv-small/bin/python"))


@pytest.mark.skipif(not PYTHON.exists(), reason="no small model here: `make small-model` installs it")
def test_a_job_is_carried_out_by_a_real_model(figure: Figure) -> None:
    with (
        listening("tests.small.server", python=PYTHON) as model,
        running_stack(**model_variables(model)) as stack,
    ):
        body = {"topic": "neural networks", "language": "en"}
        where = stack.client.post("/crewai/run/async", json=body).headers["Location"]
        job = wait_until(
            lambda: (got := stack.client.get(where).json())["timestamps"]["finished_at"] and got, within=240
        )
    assert job["status"] == "completed", job["error"]
    assert job["result"].strip()
    receipt = job["receipt"]
    assert receipt["calls_paid"] >= 2  # notes and answer; whether it searches is its own affair
    assert receipt["prompt_tokens"] > receipt["completion_tokens"] > 0
    assert job["usage"]["prompt_tokens"] == receipt["prompt_tokens"]
    figure(f"{receipt['calls_paid']} calls, {receipt['prompt_tokens']} + {receipt['completion_tokens']} tokens: ")
    figure(repr(job["result"][:300]))
