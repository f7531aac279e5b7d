"""HTTP client of a deployment's API, with retries."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx

from crewrelay.jobs.job import Status
from crewrelay.jobs.text import ended

TIMEOUT = 40.0  # seconds: longer than the gateway's timeout
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between polls of a job
_TRIES = 4
_PAGE = 100  # jobs
_TRANSIENT = frozenset({429, 502, 503, 504})

Json = dict[str, Any]


class Refused(Exception):
    """The API refused the request or did not answer; the message says what to do."""


class Client:
    """Every method may raise Refused."""

    def __init__(self, url: str, token: str | None = None, pause: Callable[[float], None] = time.sleep) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A base URL may include a stage, as in https://….amazonaws.com/prod.
        self._client = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=TIMEOUT, trust_env=False)
        self._url = url
        self._pause = pause

    def close(self) -> None:
        self._client.close()

    def health(self) -> Json:
        return self._ask("GET", "health")

    def crews(self) -> list[Json]:
        found: list[Json] = self._ask("GET", "crewai/crews")["crews"]
        return found

    def submit(self, body: Json, key: str | None = None) -> str:
        """Submit a job and return its id. A lost response is retried with the same idempotency key."""
        accepted = self._ask("POST", "crewai/run/async", _TRIES, json=body, headers=_keyed(key))
        return str(accepted["job_id"])

    def status(self, job_id: str, tries: int = 1) -> Json:
        return self._ask("GET", f"crewai/status/{job_id}", tries)

    def jobs(self, limit: int, **wanted: str) -> Iterator[Json]:
        """The newest jobs, read page by page."""
        cursor: dict[str, str] = {}
        while limit > 0:
            asked = {name: value for name, value in wanted.items() if value}
            page = self._ask("GET", "crewai/jobs", _TRIES, params={"limit": str(min(limit, _PAGE)), **asked, **cursor})
            yield from page["jobs"]
            limit -= len(page["jobs"])
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}

    def cancel(self, job_id: str) -> Json:
        return self._ask("POST", f"crewai/jobs/{job_id}/cancel")

    def retry(self, job_id: str) -> Json:
        return self._ask("POST", f"crewai/jobs/{job_id}/retry")

    def delete(self, job_id: str) -> None:
        self._ask("DELETE", f"crewai/jobs/{job_id}")

    def resume(self, job_id: str, answer: Json) -> Json:
        """Answer what the job waits for. A lost response is retried: the same answer again changes nothing."""
        return self._ask("POST", f"crewai/jobs/{job_id}/resume", _TRIES, json=answer)

    def events(self, job_id: str) -> Iterator[Json]:
        """What has happened to the job so far."""
        last = 0
        while found := self._ask("GET", f"crewai/jobs/{job_id}/events", _TRIES, params={"after": last})["events"]:
            yield from found
            last = found[-1]["number"]

    def follow(self, job_id: str) -> Iterator[Json]:
        """Poll the job, yielding it whenever its status, error or current task changes, until it has ended or waits for
        an answer.
        """
        shown, pause = None, _FIRST_PAUSE
        while True:
            job = self.status(job_id, _TRIES)
            if (seen := (job["status"], job.get("error"), (job.get("progress") or {}).get("current_task"))) != shown:
                shown = seen
                yield job
            if (status := Status(job["status"])).finished or status is Status.WAITING:
                return
            self._pause(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.2)

    def result(self, job: Json) -> str:
        """The text of a job's answer; a large one is fetched from its presigned URL."""
        if job["result"] is not None or not job["result_url"]:
            return job["result"] or ""
        with self._reached():
            fetched = httpx.get(job["result_url"], timeout=TIMEOUT, trust_env=False).raise_for_status()
        return str(fetched.json()["text"])

    def _ask(self, method: str, path: str, tries: int = 1, **request: Any) -> Json:
        for attempt in range(1, tries + 1):
            try:
                with self._reached():
                    answer = self._client.request(method, path, **request)
            except Refused:
                if attempt == tries:
                    raise
            else:
                if answer.status_code not in _TRANSIENT or attempt == tries:
                    return _body(answer, self._url)
            self._pause(2.0 ** (attempt - 1))
        raise AssertionError("unreachable")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise Refused(f"{self._url} did not answer: {reason}. Is the address right, and is it running?") from error


def _keyed(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid4())}


def _body(answer: httpx.Response, url: str) -> Json:
    if answer.status_code == HTTPStatus.NO_CONTENT:
        return {}
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.is_success and isinstance(body, dict):
        return body
    if isinstance(body, dict) and "detail" in body:
        raise Refused(f"{ended(body['detail'])} {body.get('remedy', '')}".strip())
    raise Refused(f"{url} answered {answer.status_code}, but not as crewrelay does: is the address right?")
