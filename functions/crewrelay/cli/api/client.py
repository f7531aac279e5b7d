"""HTTP client of a deployment's API, with retries."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import httpx

from crewrelay.jobs.text import ended

TIMEOUT = 40.0  # seconds: longer than the gateway's timeout
LONG_POLL = 20  # seconds
PAGE_OF_EVENTS = 1000
_TRIES = 4
_LONGEST_PAUSE = 30.0  # seconds between tries
_PAGE = 100  # jobs
_TRANSIENT = frozenset({429, 502, 503, 504})

Json = dict[str, Any]


class Refused(Exception):
    """The API refused the request; the message says what to do. `problem` is its problem+json."""

    def __init__(self, message: str, problem: Json | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}


class NoAnswer(Refused):
    """The API did not answer, or is too busy to: the same request may succeed later."""


class Client:
    """Every method may raise Refused. No request leaves the host, and no redirection is followed."""

    def __init__(self, url: str, token: str | None = None, pause: Callable[[float], None] = time.sleep) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A base URL may include a stage, as in https://….amazonaws.com/prod.
        self._client = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=TIMEOUT, trust_env=False)
        self.url = url
        self._pause = pause

    def close(self) -> None:
        self._client.close()

    def health(self) -> Json:
        return self._ask("GET", "health")

    def check(self) -> None:
        """Raise Refused unless the token is valid, whatever its scopes."""
        try:
            self._ask("GET", "crewai/jobs", params={"limit": 1})
        except Refused as refused:
            if not str(refused.problem.get("type", "")).endswith(":missing_scope"):
                raise

    def crews(self) -> list[Json]:
        found: list[Json] = self._ask("GET", "crewai/crews")["crews"]
        return found

    def submit(self, body: Json, key: str | None = None) -> Json:
        """Submit a job. A lost response is retried with the same idempotency key."""
        return self._ask("POST", "crewai/run/async", _TRIES, json=body, headers=_keyed(key))

    def status(self, job_id: str, tries: int = 1) -> Json:
        return self._ask("GET", f"crewai/status/{_part(job_id)}", tries)

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
        return self._ask("POST", f"crewai/jobs/{_part(job_id)}/cancel")

    def retry(self, job_id: str) -> Json:
        return self._ask("POST", f"crewai/jobs/{_part(job_id)}/retry")

    def delete(self, job_id: str) -> None:
        self._ask("DELETE", f"crewai/jobs/{_part(job_id)}")

    def resume(self, job_id: str, answer: Json) -> Json:
        """Answer what the job waits for. A lost response is retried: the same answer again changes nothing."""
        return self._ask("POST", f"crewai/jobs/{_part(job_id)}/resume", _TRIES, json=answer)

    def events(self, job_id: str, after: int = 0, wait: int = 0) -> Json:
        """A page of what has happened to the job. Waits for the first event, if there is none."""
        asked = {"after": after, "wait": wait, "limit": PAGE_OF_EVENTS}
        return self._ask("GET", f"crewai/jobs/{_part(job_id)}/events", _TRIES, params=asked)

    def all_events(self, job_id: str) -> Iterator[Json]:
        """What has happened to the job so far."""
        last = 0
        while found := self.events(job_id, last)["events"]:
            yield from found
            last = found[-1]["number"]

    def submit_batch(self, items: list[Json], key: str, tries: int) -> Json:
        """Raises NoAnswer at once if there is room for no job."""
        return self._ask(
            "POST", "crewai/run/batch", tries, frozenset({429}), json={"items": items}, headers=_keyed(key)
        )

    def batch(self, batch_id: str, tries: int) -> Json:
        return self._ask("GET", f"crewai/batches/{_part(batch_id)}", tries)

    def batch_results(self, batch_id: str, after: int, tries: int) -> tuple[list[Json], int | None]:
        """Some of the items that have ended, and how many items to leave out for the next ones; None at the end."""
        asked = {"after": after}
        answer = self._answer("GET", f"crewai/batches/{_part(batch_id)}/results", tries, params=asked)
        if answer.status_code != HTTPStatus.OK:
            _body(answer, self.url)
        following = parse_qs(urlsplit(answer.links.get("next", {}).get("url", "")).query).get("after")
        lines = [json.loads(line) for line in answer.content.splitlines()]
        return lines, int(following[0]) if following else None

    def result(self, job: Json) -> str:
        """The text of a job's answer; a large one is fetched from its presigned URL."""
        if job["result"] is not None or not job["result_url"]:
            return job["result"] or ""
        with self._reached():
            fetched = httpx.get(job["result_url"], timeout=TIMEOUT, trust_env=False).raise_for_status()
        return str(fetched.json()["text"])

    def _ask(self, method: str, path: str, tries: int = 1, told: frozenset[int] = frozenset(), **request: Any) -> Json:
        return _body(self._answer(method, path, tries, told, **request), self.url)

    def _answer(
        self, method: str, path: str, tries: int, told: frozenset[int] = frozenset(), **request: Any
    ) -> httpx.Response:
        """The last of so many tries; the statuses in `told` are not tried again."""
        for attempt in range(1, tries + 1):
            asked_for = 0.0
            try:
                with self._reached():
                    answer = self._client.request(method, path, **request)
            except Refused:
                if attempt == tries:
                    raise
            else:
                if answer.status_code not in _TRANSIENT - told or attempt == tries:
                    return answer
                asked_for = _retry_after(answer)
            self._pause(min(_LONGEST_PAUSE, max(asked_for, 2.0 ** (attempt - 1))))
        raise AssertionError("unreachable")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise NoAnswer(f"{self.url} did not answer: {reason}. Is the address right, and is it running?") from error


def _part(name: str) -> str:
    """The name as one part of a path, whatever is in it."""
    return quote(name, safe="")


def _keyed(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid4())}


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _body(answer: httpx.Response, url: str) -> Json:
    if answer.status_code == HTTPStatus.NO_CONTENT:
        return {}
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.is_success and isinstance(body, dict):
        return body
    kind = NoAnswer if answer.status_code in _TRANSIENT else Refused
    if isinstance(body, dict) and "detail" in body:
        raise kind(f"{ended(str(body['detail']))} {body.get('remedy', '')}".strip(), body)
    raise kind(f"{url} answered {answer.status_code}, but not as crewrelay does: is the address right?")
