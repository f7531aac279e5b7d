"""`crewrelay run`: a stack of its own for one job, sent and followed over HTTP like any client's."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console

from crewrelay.request import TopicRequest

_POLL = 0.1  # seconds
_PATIENCE = 900.0  # seconds, as long as a worker may take


class JobDidNotComplete(Exception):
    """The message says why."""


def one_job(request: TopicRequest) -> None:
    """Raises JobDidNotComplete."""
    progress = Console(stderr=True)
    with (
        progress.status("starting the stack …") as line,
        _stack() as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        accepted = client.post("/crewai/run/async", json=request.model_dump())
        if accepted.status_code != 202:
            raise JobDidNotComplete(f"{accepted.json()['detail']} {accepted.json()['remedy']}")
        started = time.monotonic()
        location = accepted.headers["Location"]
        progress.print(f"POST /crewai/run/async → 202, job {accepted.json()['job_id']}")
        shown = ""
        while True:
            job = client.get(location).raise_for_status().json()
            if job["status"] != shown:
                shown = job["status"]
                progress.print(f"GET {location} → {shown} after {time.monotonic() - started:.1f} s")
            if job["status"] in ("completed", "failed", "cancelled"):
                break
            if time.monotonic() - started > _PATIENCE:
                raise JobDidNotComplete(f"the job is still {shown} after {_PATIENCE:.0f} s")
            line.update(f"{shown} …")
            time.sleep(_POLL)
    if job["status"] != "completed":
        raise JobDidNotComplete(f"the job {job['status']}: {job['error'] and job['error']['message']}")
    _show(job)


def _show(job: dict[str, Any]) -> None:
    """Plain text: what is quoted stays as it stands in its source."""
    print(f"\n{job['result']}\n")
    for source in job["sources"]:
        print(f"[{source['number']}] {source['title']} ({source['url']})\n“{source['text']}”\n")


@contextmanager
def _stack() -> Iterator[str]:
    command = [sys.executable, "-m", "crewrelay", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = process.stdout.readline().split()
            urls = [word for word in words if word.startswith("http://")]
            if not urls:
                raise JobDidNotComplete("the stack did not start")
            yield urls[0]
        finally:
            process.terminate()
