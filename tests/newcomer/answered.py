"""What the page does for an answer, by its requests alone: its files, the crews, a submission, waits for the job."""

import json
import re
import sys
import urllib.request
from typing import Any

_FILES = re.compile(r"""(?:src|href)="([^"#:]+)\"|from "(\./[^"]+)\"""")


def read(url: str) -> None:
    page = fetched(url, "/", accept="text/html").decode()
    for path, _ in _FILES.findall(page):
        fetched(url, f"/{path.lstrip('./')}")
    crews = json.loads(fetched(url, "/crewai/crews"))["crews"]
    body = {"crew": crews[0]["name"], "inputs": {"topic": "neural networks", "language": "en"}}
    job = json.loads(fetched(url, "/crewai/run/async", body))
    while job["status"] not in ("completed", "failed"):
        job = json.loads(fetched(url, f"/crewai/status/{job['job_id']}?wait=20"))
    if job["status"] != "completed" or not job["sources"]:
        sys.exit(f"the job is {job['status']}: {job['error']}")


def fetched(url: str, path: str, body: dict[str, Any] | None = None, accept: str = "application/json") -> bytes:
    headers = {"Accept": accept, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=60) as answer:
        content: bytes = answer.read()
    return content
