"""The folder that a stack keeps its jobs in: its lock, and putting a backup into it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from crewrelay.jobs.errors import Misconfigured
from crewrelay.sqlite.database import FILE, Database, sync

_LOCK = "serve.lock"
_LOG = ("-wal", "-shm")  # SQLite's, beside the file; a restored file must not meet those of the one before


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, which is created if it is missing. Raises Misconfigured if another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise Misconfigured(f"can't use the folder {folder}: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Misconfigured(f"another `crewrelay serve` keeps its jobs in {folder}: name another with --data") from None
    finally:
        os.close(lock)


def restore(folder: Path, backup: Path) -> Path | None:
    """Put a copy of the backup into the folder. Returns where the file before it is now. Raises Misconfigured."""
    with locked(folder):
        path, part = folder / FILE, folder / f"{FILE}.part"
        try:
            part.touch(0o600)
            shutil.copyfile(backup, part)
            with closing(Database(part)) as copy:
                if (found := copy.check()) != "ok":
                    raise Misconfigured(f"{backup} is damaged: {found}")
            sync(part)
            replaced = _set_aside(path)
            part.rename(path)
            sync(folder)
        except OSError as error:
            raise Misconfigured(f"can't restore {backup} to {path}: {error}") from error
        finally:
            for leftover in (part, *(part.with_name(part.name + end) for end in _LOG)):
                leftover.unlink(missing_ok=True)
    return replaced


def _set_aside(path: Path) -> Path | None:
    """The file with its log, which may hold the newest jobs, into a folder beside it."""
    if not path.exists():
        return None
    number = 1
    while (aside := path.with_name(f"replaced-{number}")).exists():
        number += 1
    aside.mkdir(mode=0o700)
    for one in (path, *(path.with_name(path.name + end) for end in _LOG)):
        if one.exists():
            one.rename(aside / one.name)
    return aside
