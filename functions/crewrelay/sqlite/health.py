"""Checks of the folder of `crewrelay serve` for `crewrelay doctor`."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from crewrelay.health import Check
from crewrelay.jobs.errors import Misconfigured
from crewrelay.sqlite.database import FILE, Database, logs_of
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.system import utcnow

_LEAST_FREE = 500_000_000  # bytes


def folder_checks(folder: Path) -> Iterator[Check]:
    """Each check raises Misconfigured or Unavailable if something is wrong."""
    path = folder / FILE
    yield FILE, partial(_file, path)
    yield "disk", partial(_disk, path)
    yield "unfinished jobs", partial(_unfinished, path)


def _file(path: Path) -> str:
    _existing(path).refuse_damage()
    return f"{path}: {_megabytes(_size(path))}, no faults"


def _disk(path: Path) -> str:
    free, needed = shutil.disk_usage(path.parent).free, max(_LEAST_FREE, 2 * _size(path))
    if free < needed:
        raise Misconfigured(
            f"Only {_megabytes(free)} are free at {path.parent}, and {_megabytes(needed)} should be: make room, or stop"
            " the stack and move the folder to a larger disk"
        )
    return f"{_megabytes(free)} are free"


def _unfinished(path: Path) -> str:
    return str(SqliteJobStore(_existing(path), utcnow).count_unfinished())


def _existing(path: Path) -> Database:
    if not path.is_file():
        raise Misconfigured(f"There is no {path}: name the folder with --data")
    return Database(path)


def _size(path: Path) -> int:
    """With its log, which holds the latest writes."""
    return sum(file.stat().st_size for file in (path, logs_of(path)[0]) if file.is_file())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
