"""The inline run stops waiting at the deadline, whatever the model does."""

import time

from tests.processes import listening
from tests.stack import model_variables, running_stack
from tests.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}
SHORT = {"CREWRELAY_GATEWAY_LIMIT": "3", "CREWRELAY_GATEWAY_MARGIN": "1"}


def test_a_model_that_trickles_its_answer_does_not_hold_the_request() -> None:
    # A byte every 50 ms: no read of the client ever times out, and one answer takes half a minute.
    with (
        listening("tests.doubles.model_server", "--trickle", "0.05") as model,
        running_stack(**model_variables(model), **SHORT) as stack,
    ):
        started = time.monotonic()
        response = stack.client.post("/crewai/run", json=EXAMPLE)
        assert time.monotonic() - started < 3
        assert response.status_code == 202
        assert set(response.json()) == {"job_id", "status"}
        assert int(response.headers["Retry-After"]) > 0
        job = stack.client.get(response.headers["Location"]).json()
        assert job["status"] in ("pending", "running")


def test_a_run_that_does_not_fit_is_left_to_the_worker() -> None:
    with (
        listening("tests.doubles.model_server", "--delay", "0.9") as model,
        running_stack(**model_variables(model), **SHORT) as stack,
    ):
        response = stack.client.post("/crewai/run", json=EXAMPLE)
        assert response.status_code == 202
        location = response.headers["Location"]
        wait_until(lambda: stack.client.get(location).json()["status"] == "completed", within=20)
        assert "About neural networks" in stack.client.get(location).json()["result"]
