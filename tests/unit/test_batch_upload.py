"""`crewrelay batch` that dies anywhere and is run again: every line once in the results, every job submitted once."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import typer

from crewrelay.cli.api.client import Client, NoAnswer, Refused
from crewrelay.cli.batch.items import Line, key_of
from crewrelay.cli.batch.results import Results
from crewrelay.cli.batch.upload import State, Upload

COUNTED = ("pending", "running", "waiting", "completed", "failed", "cancelled", "rejected")
SOURCE = {"address": "http://here", "file": "digest"}


class Died(BaseException):
    """kill -9"""


class Api:
    """A tenant's batches, with room for so many unfinished jobs. The oldest job ends whenever a batch is looked at."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.batches: dict[str, list[dict[str, Any]]] = {}
        self.jobs: dict[tuple[str, str], str] = {}  # status, by batch and custom_id
        self.submissions = 0
        self.ends_as = "completed"

    def submit_batch(self, items: list[dict[str, Any]], key: str, tries: int) -> dict[str, Any]:
        self.submissions += 1
        faults = [(place, each) for place, each in enumerate(items) if each["language"] == "bad"]
        if len(faults) == len(items):
            errors = [{"field": f"items.{place}.language", "message": "is bad"} for place, _ in faults[:1]]
            raise Refused("all are wrong", {"status": 422, "errors": errors})
        if key not in self.batches and self._unfinished() >= self.room:
            raise NoAnswer("no room", {"status": 429})
        assert self.batches.setdefault(key, items) == items
        return {"batch_id": key, "items": [{"problem": self._submit(key, item)} for item in items]}

    def _submit(self, batch: str, item: dict[str, Any]) -> dict[str, Any] | None:
        place = (batch, item["custom_id"])
        if item["language"] == "bad":
            return {"status": 422}
        if place not in self.jobs:
            if self._unfinished() >= self.room:
                return {"status": 429}
            self.jobs[place] = "pending"
        return None

    def _unfinished(self) -> int:
        return sum(status in ("pending", "waiting") for status in self.jobs.values())

    def batch(self, batch_id: str, tries: int) -> dict[str, Any]:
        pending = [place for place, status in self.jobs.items() if status == "pending"]
        if pending:
            self.jobs[pending[-1]] = self.ends_as  # the youngest first: results come out of order
        states = [status for (batch, _), status in self.jobs.items() if batch == batch_id]
        counts = {name: states.count(name) for name in COUNTED}
        counts["rejected"] = sum(item["language"] == "bad" for item in self.batches[batch_id])
        return {"counts": counts, "finished": not counts["pending"] + counts["waiting"]}

    def batch_results(self, batch_id: str, after: int, tries: int) -> tuple[list[dict[str, Any]], int | None]:
        """Two items at once."""
        found = []
        for item in self.batches[batch_id][after : after + 2]:
            status = self.jobs.get((batch_id, item["custom_id"]), "")
            job = {"status": status} if status not in ("", "pending", "waiting") else None
            rejection = "it is bad" if item["language"] == "bad" else None
            if job or rejection:
                found.append({"custom_id": item["custom_id"], "job": job, "rejection": rejection})
        return found, after + 2 if after + 2 < len(self.batches[batch_id]) else None


class Mortal:
    """The same API for a caller who dies at a request: before it, or after it is done and before the answer."""

    def __init__(self, api: Api, step: Callable[[], None]) -> None:
        self._api = api
        self._step = step

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self._step()
            try:
                return getattr(self._api, name)(*arguments)
            finally:
                self._step()

        return call


def chunks(*sizes: int, bad: Sequence[int] = ()) -> list[list[Line]]:
    numbers = iter(range(1, sum(sizes) + 1))
    return [
        [
            Line(n, {"custom_id": str(n), "topic": "x", "language": "bad" if n in bad else "en"})
            for n in (next(numbers) for _ in range(size))
        ]
        for size in sizes
    ]


def upload(api: Any, some: list[list[Line]], out: Path, salt: str = "") -> State:
    with Results(out, SOURCE) as results:
        return Upload(cast(Client, api), some, salt, results, pause=lambda _: None, clock=clock()).run(lambda _: None)


def clock() -> Callable[[], float]:
    times = iter(range(10_000_000))
    return lambda: float(next(times))


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize("room", [2, 1000])
def test_whoever_dies_anywhere_goes_on_where_it_stopped(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each request, each write to a file and each sync of one."""
    countdown = [0]

    def step() -> None:
        countdown[0] -= 1
        if countdown[0] == 0:
            raise Died

    def mortal(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any) -> Any:
            step()
            if name == "write":
                half = arguments[1][: len(arguments[1]) // 2]
                if countdown[0] == 1:
                    real(arguments[0], half)  # a line and a half
            done = real(*arguments) if not (name == "write" and countdown[0] == 1) else len(half)
            step()
            return done

        return call

    for name in ("write", "fsync", "replace"):
        monkeypatch.setattr(os, name, mortal(name))
    some = chunks(2, 2, 1, bad=[2, 5])
    points = 0
    while True:
        points += 1
        api, out = Api(room), tmp_path / f"{points}.jsonl"
        countdown[0] = points
        died = False
        for _ in range(2):
            with suppress(Died):
                upload(Mortal(api, step), some, out)
                break
            died = True
        assert sorted(line["line"] for line in lines(out)) == list(range(1, 6))
        assert sum(line["job"] is None for line in lines(out)) == 2
        assert len(api.jobs) == 3
        assert set(api.batches) == {key_of(chunk, "") for chunk in some[:2]}
        if not died:
            break
    assert points > 30


def test_when_all_is_there_nothing_is_asked(tmp_path: Path) -> None:
    api, some = Api(), chunks(2, 2)
    upload(api, some, tmp_path / "out")
    submissions = api.submissions
    assert upload(api, some, tmp_path / "out") == State(4, 4, 0)
    assert api.submissions == submissions == 2


def test_results_that_were_lost_are_fetched_and_nothing_is_submitted(tmp_path: Path) -> None:
    api, some, out = Api(), chunks(2, 2), tmp_path / "out"
    upload(api, some, out)
    out.unlink()
    upload(api, some, out)
    assert (len(lines(out)), api.submissions) == (4, 2)


def test_the_same_lines_are_other_jobs_under_another_name(tmp_path: Path) -> None:
    api, some = Api(), chunks(2)
    for out in ("one", "two"):
        upload(api, some, tmp_path / out)
    assert len(api.jobs) == 2
    upload(api, some, tmp_path / "three", salt="again")
    assert len(api.jobs) == 4


def test_what_waits_for_an_answer_keeps_nobody_waiting(tmp_path: Path) -> None:
    api, some, out = Api(), chunks(2), tmp_path / "out"
    api.ends_as = "waiting"
    assert upload(api, some, out) == State(2, 0, 2)
    api.jobs = dict.fromkeys(api.jobs, "completed")
    assert upload(api, some, out) == State(2, 2, 0)


def test_a_job_that_was_deleted_is_told(tmp_path: Path) -> None:
    api, some, out = Api(), chunks(3), tmp_path / "out"
    with suppress(Died):
        died = iter([False] * 3 + [True])

        def step() -> None:
            if next(died):
                raise Died

        upload(Mortal(api, step), some, out)
    del api.jobs[key_of(some[0], ""), "2"]
    upload(api, some, out)
    (lost,) = [line for line in lines(out) if line["job"] is None]
    assert (lost["line"], lost["rejection"]) == (2, "Its job was deleted, or can't be read.")
    assert len(api.jobs) == 2


def test_if_all_lines_are_wrong_each_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    upload(Api(), chunks(2, bad=[1, 2]), out)
    assert [line["rejection"] for line in lines(out)] == ["language: is bad", "It is wrong, like all of its batch."]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda out: out.write_text("mine\n"), "exists, and is not of a batch"),
        (lambda out: upload(Api(), chunks(1), out) and out.write_text("no result\n"), "is no result of a batch"),
        (lambda out: out.with_name("out.state").write_text("{"), "can't be read"),
        (lambda out: out.mkdir(), "can't write"),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(
    prepare: Callable[[Path], object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, api = tmp_path / "out", Api()
    prepare(out)
    before = out.read_text() if out.is_file() else ""
    with pytest.raises(typer.Exit):
        upload(api, chunks(1), out)
    assert said in capsys.readouterr().err
    assert (out.read_text() if out.is_file() else "") == before
    assert api.submissions == 0


def test_other_lines_and_another_address_need_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Results(tmp_path / "out", SOURCE):
        pass
    for name in SOURCE:
        with pytest.raises(typer.Exit), Results(tmp_path / "out", SOURCE | {name: "other"}):
            pass
        assert f"has results of another {name}" in capsys.readouterr().err


def test_two_do_not_write_the_same_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Results(tmp_path / "out", SOURCE), pytest.raises(typer.Exit), Results(tmp_path / "out", SOURCE):
        pass
    assert "another `crewrelay batch` is writing" in capsys.readouterr().err


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api, out = Api(), tmp_path / "out"
    with pytest.MonkeyPatch.context() as patched:
        real, writes = os.write, iter([5])

        def full(file: int, content: bytes) -> int:
            for size in writes:
                return int(real(file, content[:size]))
            raise OSError(28, "No space left on device")

        patched.setattr(os, "write", full)
        with pytest.raises(typer.Exit):
            upload(api, chunks(2), out)
    assert "No space left on device; run the same command again" in capsys.readouterr().err
    assert out.read_text() == ""
    upload(api, chunks(2), out)
    assert (len(lines(out)), len(api.jobs)) == (2, 2)


def test_it_looks_less_often_while_nothing_ends(tmp_path: Path) -> None:
    api, some, pauses = Api(), chunks(1), list[float]()
    api.ends_as = "running"
    api.batch = lambda *_: {"counts": dict.fromkeys(COUNTED, 0) | {"running": 1}, "finished": False}  # type: ignore[method-assign]

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 15:
            raise Died

    with pytest.raises(Died), Results(tmp_path / "out", SOURCE) as results:
        Upload(cast(Client, api), some, "", results, pause, clock=lambda: 0.0).run(lambda _: None)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (1.3, 10.0)
