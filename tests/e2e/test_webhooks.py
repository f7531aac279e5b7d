"""A webhook of the real stack, whose process is killed while it delivers."""

import os
import signal
import socket
import threading

from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from crewrelay.cli.commands import app
from tests.e2e.stacks import ScriptedStack
from tests.support.doubles.receiver import OK, Receiver, read
from tests.support.waiting import wait_until

EXAMPLE = {"topic": "neural networks", "language": "en"}


def test_a_delivery_outlives_a_kill_and_comes_again_under_its_id(hasty: ScriptedStack) -> None:
    stack, model = hasty
    model.script()
    begun: list[str] = []

    def hangs(connection: socket.socket, over: threading.Event) -> None:
        begun.append(read(connection)[0]["webhook-id"])
        over.wait(60)

    receiver = Receiver(hangs)
    try:
        body = EXAMPLE | {"webhook_url": receiver.url}
        job_id = stack.client.post("/crewai/run/async", json=body).raise_for_status().json()["job_id"]
        wait_until(lambda: begun, within=30)
        [crew] = stack.crews()
        os.kill(crew, signal.SIGKILL)
        [(headers, raw)] = wait_until(lambda: receiver.requests, within=60)
        assert [headers["webhook-id"]] == begun
        assert begun[0].startswith(f"msg_{job_id}_0_")
        secret = stack.client.get("/crewai/webhooks/secret").raise_for_status().json()["secret"]
        event = Webhook(secret).verify(raw, headers)
        assert (event["type"], event["data"]["status_url"]) == (
            "job.completed",
            f"{stack.url}/crewai/status/{job_id}",
        )
        wait_until(lambda: delivered(stack.client.get(f"/crewai/jobs/{job_id}/deliveries").json()), within=10)
        receiver.script.append(lambda connection, over: connection.sendall(read(connection) and OK + b"fine"))
        arguments = ["webhook", "test", receiver.url, "--data", str(stack.data)]
        tested = CliRunner().invoke(app, arguments)
        assert (tested.exit_code, tested.stdout.split(": ")[1].strip()) == (0, "204"), tested.output
    finally:
        receiver.close()


def delivered(told: dict[str, list[dict[str, list[object]]]]) -> bool:
    return len(told["webhooks"][0]["attempts"]) == 1  # the killed one could not be kept
