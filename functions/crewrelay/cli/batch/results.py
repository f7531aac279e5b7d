"""The results of a batch: a file that only ever has whole lines, each once, and beside it a file that says what was
submitted. Whoever opens them after a crash goes on where it stopped.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from crewrelay.cli.api.client import Json
from crewrelay.cli.terminal import fail
from crewrelay.jobs.text import json_of

NOT_A_JOB = "rejected"


class Results:
    """A context manager. `outcomes` are by line: the state that its job ended in, or that it was rejected. `batches`
    are by request: the id of its batch, once all of it is submitted.
    """

    def __init__(self, out: Path, source: Mapping[str, str]) -> None:
        """`source` is what the results are of: where they were made, and a digest of the lines."""
        self._out = out
        self._state = out.with_name(f"{out.name}.state")
        self._source = dict(source)
        self.outcomes: dict[int, str] = {}
        self.batches: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._file = os.open(self._out, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            fail(f"another `crewrelay batch` is writing {self._out}")
        except OSError as error:
            fail(f"can't write {self._out}: {error.strerror or error}")
        try:
            self._resume()
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.outcomes.values())

    def add(self, lines: Iterable[Json]) -> None:
        """Append them, and keep them over a power failure. Ends the command if there is no room for them."""
        lines = list(lines)
        content = "".join(json_of(line) + "\n" for line in lines).encode()
        before = os.fstat(self._file).st_size
        try:
            written = 0
            while written < len(content):
                written += os.write(self._file, content[written:])
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, before)
            fail(f"can't write {self._out}: {error.strerror or error}; run the same command again to go on")
        self.outcomes |= {line["line"]: outcome_of(line) for line in lines}

    def submitted(self, key: str, batch_id: str) -> None:
        self.batches[key] = batch_id
        self._save()

    def _resume(self) -> None:
        kept = self._read_state()
        size = os.fstat(self._file).st_size
        if kept is None and size:
            fail(f"{self._out} exists, and is not of a batch: name another file with --out")
        if kept is None:
            return self._save()
        for name, value in self._source.items():
            if kept["source"].get(name) != value:
                fail(f"{self._out} has results of another {name}: name another file with --out")
        self.batches = kept["batches"]
        with open(self._file, "rb", closefd=False) as reading:
            content = reading.read()
        whole = content.rfind(b"\n") + 1
        os.ftruncate(self._file, whole)  # half a line, of a write that was cut off
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                result = json.loads(line)
                self.outcomes[result["line"]] = outcome_of(result)
            except (ValueError, KeyError, TypeError):
                fail(
                    f"line {number} of {self._out} is no result of a batch: remove it, or name another file with --out"
                )

    def _read_state(self) -> Any:
        try:
            kept = json.loads(self._state.read_text())
            return kept if {"source", "batches"} <= kept.keys() else self._damaged()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError):
            self._damaged()

    def _damaged(self) -> None:
        fail(f"{self._state} can't be read: restore it, or name another file with --out")

    def _save(self) -> None:
        """Atomically: a crash leaves the old one or the new one."""
        new = self._state.with_name(f"{self._state.name}.new")
        try:
            with new.open("w") as file:
                json.dump({"source": self._source, "batches": self.batches}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._state)
        except OSError as error:
            fail(f"can't write {self._state}: {error.strerror or error}")


def outcome_of(line: Json) -> str:
    return str(line["job"]["status"]) if line["job"] else NOT_A_JOB
