"""Webhooks of the real stack, whose process is killed while it delivers."""

import json
import os
import signal
import socket
import threading
from functools import partial

import httpx
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from crewrelay.cli.commands import app
from tests.e2e.stacks import ScriptedStack
from tests.support.doubles.receiver import OK, Receiver, read
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}


def test_deliveries_outlive_a_kill_and_come_again_under_their_ids(hasty: ScriptedStack) -> None:
    """Of a job, and of a batch's end."""
    stack, model = hasty
    model.script()
    begun: dict[str, str] = {}

    def hangs(connection: socket.socket, over: threading.Event) -> None:
        headers, raw = read(connection)
        begun[json.loads(raw)["type"]] = headers["webhook-id"]
        over.wait(60)

    receiver, batches = Receiver(hangs), Receiver(hangs)
    try:
        batch = {"items": [EXAMPLE], "webhook_url": batches.url, "webhook_events": ["batch.completed"]}
        batch_id = stack.client.post("/crewai/run/batch", json=batch).raise_for_status().json()["batch_id"]
        body = EXAMPLE | {"webhook_url": receiver.url}
        job_id = stack.client.post("/crewai/run/async", json=body).raise_for_status().json()["job_id"]
        wait_until(lambda: begun.keys() == {"job.completed", "batch.completed"}, within=30)
        [crew] = stack.crews()
        os.kill(crew, signal.SIGKILL)

        secret = stack.client.get("/crewai/webhooks/secret").raise_for_status().json()["secret"]
        [(headers, raw)] = wait_until(lambda: receiver.requests, within=60)
        event = Webhook(secret).verify(raw, headers)
        assert headers["webhook-id"] == begun[event["type"]]
        assert headers["webhook-id"].startswith(f"msg_{job_id}_0_")
        assert (event["type"], event["data"]["status_url"]) == (
            "job.completed",
            f"{stack.url}/crewai/status/{job_id}",
        )
        [(headers, raw)] = wait_until(lambda: batches.requests, within=60)
        event = Webhook(secret).verify(raw, headers)
        assert headers["webhook-id"] == begun[event["type"]]
        assert (event["type"], event["data"]["batch_id"]) == ("batch.completed", batch_id)
        assert event["data"]["counts"]["completed"] == 1

        for told in (f"/crewai/jobs/{job_id}/deliveries", f"/crewai/batches/{batch_id}/deliveries"):
            wait_until(partial(delivered, stack.client, told), within=10)
        receiver.script.append(lambda connection, over: connection.sendall(read(connection) and OK + b"fine"))
        arguments = ["webhook", "test", receiver.url, "--data", str(stack.data)]
        tested = CliRunner().invoke(app, arguments)
        assert (tested.exit_code, tested.stdout.split(": ")[1].strip()) == (0, "204"), tested.output
    finally:
        receiver.close()
        batches.close()


def delivered(client: httpx.Client, path: str) -> bool:
    told = client.get(path).json()
    return len(told["webhooks"][0]["attempts"]) == 1  # the killed one could not be kept
