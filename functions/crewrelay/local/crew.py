"""The crew process: the run function's app, and the event sources of worker, intake, notifier and sweeper."""

import hmac
import json
import os
import socket
import sys
import threading
import time

import uvicorn
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from crewrelay.http.problems import plain_problem
from crewrelay.jobs.errors import InvalidCrew, Misconfigured, RetrievalError
from crewrelay.local.child import (
    CALLER,
    GATEWAY,
    GATEWAY_VARIABLE,
    MISCONFIGURED,
    RECEIVED_AT,
    RECYCLED,
    announce,
    live_and_die_with_parent,
)
from crewrelay.local.connections import bounded
from crewrelay.local.event_sources import EventSource, Schedule
from crewrelay.local.resources import load_template
from crewrelay.local.stack import TEMPLATE
from crewrelay.system import this_process

_GRACE = 3.0  # seconds for a crew to stop after its run has ended


class GatewayContext:
    """Turns the gateway's headers into the request context that API Gateway would add: receive time and caller. Refuses
    requests without the gateway's secret, because other users of this machine could forge the headers.
    """

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if not hmac.compare_digest(headers.get(GATEWAY, "").encode(), self._secret):
            return await plain_problem(403, "Only the gateway may call this process.")(scope, receive, send)
        authorizer = json.loads(headers.get(CALLER, "null"))
        context = {"requestTimeEpoch": int(headers[RECEIVED_AT]), "authorizer": authorizer}
        await self._app({**scope, "aws.event": {"requestContext": context}}, receive, send)


class _Server(uvicorn.Server):
    """Announces its port once it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup()
        if not self.should_exit:
            announce(self.servers[0].sockets[0].getsockname()[1])


def main() -> None:
    ready = threading.Event()
    live_and_die_with_parent(lambda: jobs.wake(settings) if ready.is_set() else None)
    try:
        from crewrelay import cold_start  # disables the garbage collector
        from crewrelay.wiring import jobs
        from crewrelay.wiring.crews import crew_runner
        from intake.handler import handler as intake
        from notifier.handler import handler as notifier
        from run.handler import app, settings
        from sweeper.handler import handler as sweeper
        from worker.handler import handler as worker

        crew_runner().warm_up()
        cold_start.over()
    except (Misconfigured, InvalidCrew) as error:
        print(f"crewrelay: {error}", file=sys.stderr, flush=True)
        sys.exit(MISCONFIGURED)
    except RetrievalError as error:  # an unavailable store may come back
        print(f"crewrelay: {error} {error.remedy}", file=sys.stderr, flush=True)
        if not error.retryable:
            sys.exit(MISCONFIGURED)
    deployed = load_template(TEMPLATE)["Resources"]
    timeout = {name: deployed[name]["Properties"]["Timeout"] for name in deployed if name.endswith("Function")}
    bells = EventSource(
        jobs.doorbell(settings),
        worker,
        name="worker",
        concurrency=3,
        timeout=timeout["WorkerFunction"],
        is_to_poll=lambda: this_process.takes_jobs,
    )
    ready.set()
    bells.start()
    intake_queue = jobs.intake_queue(settings, os.environ.get("CREWRELAY_INTAKE_QUEUE_URL", ""))
    EventSource(intake_queue, intake, name="intake", concurrency=1, timeout=timeout["IntakeFunction"]).start()
    if due := jobs.due_uploads(settings):
        EventSource(due, intake, name="uploads", concurrency=1, timeout=timeout["IntakeFunction"]).start()
    EventSource(
        jobs.notifier_bell(settings), notifier, name="notifier", concurrency=2, timeout=timeout["NotifierFunction"]
    ).start()
    # Once per lease, as on AWS.
    Schedule(sweeper, name="sweeper", seconds=settings.lease_seconds, timeout=timeout["SweeperFunction"]).start()
    server = _Server(bounded(GatewayContext(app, os.environ[GATEWAY_VARIABLE]), host="127.0.0.1", port=0))
    recycle = threading.Event()
    threading.Thread(target=_watch, args=(recycle, bells, server), name="watch", daemon=True).start()
    server.run()
    if recycle.is_set():
        sys.stdout.flush()
        os._exit(RECYCLED)  # a normal exit might wait for the crew's thread


def _watch(recycle: threading.Event, bells: EventSource, server: uvicorn.Server) -> None:
    """Once a crew does not stop, shut down: first hand back jobs from the queue, then inline runs."""
    while this_process.is_sound(_GRACE):
        time.sleep(1)
    bells.stop()
    recycle.set()
    server.should_exit = True


if __name__ == "__main__":
    main()
