"""The inline run stops waiting at the deadline, whatever the model does."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from tests.processes import listening
from tests.stack import children_running, model_variables, running_stack
from tests.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}
LIMIT = 4  # seconds
SHORT = {"CREWRELAY_GATEWAY_LIMIT": str(LIMIT), "CREWRELAY_GATEWAY_MARGIN": "2"}


def test_a_model_that_trickles_its_answer_does_not_hold_the_request() -> None:
    # A byte every 50 ms: no read of the client ever times out, and one answer takes half a minute.
    with (
        listening("tests.doubles.model_server", "--trickle", "0.05") as model,
        running_stack(**model_variables(model), **SHORT) as stack,
    ):
        started = time.monotonic()
        response = stack.client.post("/crewai/run", json=EXAMPLE)
        assert time.monotonic() - started < LIMIT
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


def test_a_table_that_stalls_does_not_hold_the_request() -> None:
    with (
        listening("tests.doubles.model_server", "--delay", "3") as model,
        running_stack(**model_variables(model), **SHORT) as stack,
    ):
        location = stack.client.post("/crewai/run/async", json=EXAMPLE).headers["Location"]
        wait_until(lambda: stack.client.get(location).json()["status"] == "running", within=10)
        (emulator,) = children_running(stack.process.pid, "crewrelay.local.emulator")
        with ThreadPoolExecutor(1) as pool:
            started = time.monotonic()
            inline = pool.submit(stack.client.post, "/crewai/run", json=EXAMPLE)
            wait_until(lambda: list(stack.jobs().values()) == ["running"] * 2, within=2, every=0.02)
            os.kill(emulator, signal.SIGSTOP)
            try:
                response = inline.result()
                assert time.monotonic() - started < LIMIT
            finally:
                os.kill(emulator, signal.SIGCONT)
        assert response.status_code == 202
        # The lease is 15 s here; the bell that rang with the submission comes after it.
        location = response.headers["Location"]
        wait_until(lambda: stack.client.get(location).json()["status"] == "completed", within=60)


def test_an_inline_run_whose_process_dies_is_run_by_another() -> None:
    with (
        listening("tests.doubles.model_server", "--delay", "1") as model,
        running_stack(**model_variables(model), **SHORT, CREWRELAY_LEASE_SECONDS="2") as stack,
        ThreadPoolExecutor(1) as pool,
    ):
        inline = pool.submit(stack.client.post, "/crewai/run", json=EXAMPLE)
        (job_id,) = wait_until(stack.jobs, within=5, every=0.02)
        for pid in children_running(stack.process.pid, "crewrelay.local.crew"):
            os.kill(pid, signal.SIGKILL)
        assert inline.result().status_code == 503
        wait_until(lambda: stack.client.get(f"/crewai/status/{job_id}").json()["status"] == "completed", within=40)
