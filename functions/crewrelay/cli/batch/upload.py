"""Submits the lines of a file as batches, as fast as the tenant's limit allows, and collects their results."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from crewrelay.cli.api.client import Client, Json, NoAnswer, Refused
from crewrelay.cli.batch.items import Line, key_of
from crewrelay.cli.batch.results import Results

_TRIES = 12  # of each request: minutes, in which a stack can be restarted
_BUSY = (429, 503)  # of an item: it may be submitted later
# Seconds between two looks, which cost a read of each job: longer ones while nothing ends, and the longest if the
# answers themselves take long.
_LEAST_PAUSE, _QUIET_PAUSE, _LONGEST_PAUSE, _GROWTH = 1.0, 10.0, 30.0, 1.3
_ROOM = 5.0  # seconds after which to ask again for room, unless a job ended before
_LOST = "Its job was deleted, or can't be read."


class State(NamedTuple):
    """How many lines were accepted as jobs or rejected, how many have results, and how many jobs wait for an answer."""

    accepted: int
    finished: int
    waiting: int


class Upload:
    """`salt` makes the same lines other jobs."""

    def __init__(
        self,
        client: Client,
        chunks: Sequence[Sequence[Line]],
        salt: str,
        results: Results,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._chunks = {key_of(chunk, salt): chunk for chunk in chunks}
        self._results = results
        self._pause = pause
        self._clock = clock
        self._accepted = {key: len(self._chunks[key]) for key in results.batches if key in self._chunks}
        self._partly: dict[str, str] = {}  # batches of which not all is submitted
        self._ask_for_room_at = 0.0
        self._waiting = Counter[str]()
        self._unfinished = Counter[str]()

    def run(self, show: Callable[[State], None]) -> State:
        """Until each line has a result, or all that have none wait for an answer. Raises Refused."""
        pause = _LEAST_PAUSE
        while True:
            started = self._clock()
            submitted = self._submit_next()
            news = self._collect()
            show(self.state)
            if self._is_over():
                return self.state
            if news:
                self._ask_for_room_at = 0.0
            pause = _LEAST_PAUSE if news or submitted else min(_QUIET_PAUSE, pause * _GROWTH)
            if not submitted:
                self._pause(min(_LONGEST_PAUSE, max(pause, 2 * (self._clock() - started))))

    @property
    def state(self) -> State:
        """A job may have ended since its batch was counted."""
        missing = {key: len(self._missing(chunk)) for key, chunk in self._chunks.items()}
        waiting = sum(min(self._waiting[key], number) for key, number in missing.items())
        return State(sum(self._accepted.values()), len(self._results.outcomes), waiting)

    def _is_over(self) -> bool:
        if any(key not in self._results.batches for key in self._chunks):
            return False
        missing = sum(len(self._missing(chunk)) for chunk in self._chunks.values())
        return not missing or (missing == self._waiting.total() == self._unfinished.total())

    def _missing(self, chunk: Sequence[Line]) -> list[Line]:
        return [line for line in chunk if line.number not in self._results.outcomes]

    def _submit_next(self) -> bool:
        """The next request of which not all is submitted. False if there is none, or no room for it."""
        key = next((key for key in self._chunks if key not in self._results.batches), None)
        if key is None or self._clock() < self._ask_for_room_at:
            return False
        chunk = self._chunks[key]
        self._ask_for_room_at = self._clock() + _ROOM
        try:
            answer = self._client.submit_batch([line.item for line in chunk], key, _TRIES)
        except NoAnswer as busy:
            if busy.problem.get("status") != 429:
                raise
            return False
        except Refused as refused:
            if not _names_items(refused.problem):
                raise
            self._reject(chunk, refused.problem)
            answer = {"batch_id": "", "items": []}
        later = sum((item["problem"] or {}).get("status") in _BUSY for item in answer["items"])
        self._accepted[key] = len(chunk) - later
        if later:
            self._partly[key] = answer["batch_id"]
            return False
        self._results.submitted(key, answer["batch_id"])
        self._partly.pop(key, None)
        self._ask_for_room_at = 0.0
        return True

    def _reject(self, chunk: Sequence[Line], problem: Json) -> None:
        """All items are wrong. The problem names the faults of the first ones."""
        said: dict[int, list[str]] = {}
        for error in problem["errors"]:
            _, number, *field = str(error["field"]).split(".")
            said.setdefault(int(number), []).append(f"{'.'.join(field)}: {error['message']}".removeprefix(": "))
        general = "It is wrong, like all of its batch."
        missing = {line.number for line in self._missing(chunk)}
        self._results.add(
            _line(line, None, "; ".join(said.get(place, [general])))
            for place, line in enumerate(chunk)
            if line.number in missing
        )

    def _collect(self) -> int:
        """Write the results that are there. Returns how many."""
        before = len(self._results.outcomes)
        for key, batch_id in (self._results.batches | self._partly).items():
            chunk = self._chunks.get(key, ())
            if batch_id and self._missing(chunk):
                self._collect_batch(key, batch_id, chunk)
        return len(self._results.outcomes) - before

    def _collect_batch(self, key: str, batch_id: str, chunk: Sequence[Line]) -> None:
        batch = self._client.batch(batch_id, _TRIES)
        counts = batch["counts"]
        ended = counts["completed"] + counts["failed"] + counts["cancelled"] + counts["rejected"]
        if ended > len(chunk) - len(self._missing(chunk)):
            self._fetch(batch_id, chunk)
        all_submitted = key in self._results.batches
        if batch["finished"] and all_submitted:
            self._results.add([_line(line, None, _LOST) for line in self._missing(chunk)])
        self._waiting[key] = counts["waiting"]
        self._unfinished[key] = counts["waiting"] + counts["pending"] + counts["running"]

    def _fetch(self, batch_id: str, chunk: Sequence[Line]) -> None:
        """From the first item on that has no result yet."""
        missing = {line.custom_id: line for line in self._missing(chunk)}
        after: int | None = next(place for place, line in enumerate(chunk) if line.custom_id in missing)
        while after is not None:
            found, after = self._client.batch_results(batch_id, after, _TRIES)
            new = [(missing.pop(each["custom_id"]), each) for each in found if each["custom_id"] in missing]
            self._results.add(_line(line, each["job"], each["rejection"]) for line, each in new)


def _names_items(problem: Json) -> bool:
    errors = problem.get("errors") or []
    return bool(errors) and all(str(error["field"]).startswith("items.") for error in errors)


def _line(line: Line, job: Json | None, rejection: str | None) -> Json:
    return {"line": line.number, "custom_id": line.custom_id, "job": job, "rejection": rejection}
