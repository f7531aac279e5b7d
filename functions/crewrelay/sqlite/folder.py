"""The folder that a stack keeps its jobs in: its lock, and putting a backup into it."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from crewrelay.jobs.errors import Misconfigured
from crewrelay.sqlite.database import FILE, Database, logs_of, sync

_LOCK = "serve.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, which is created if it is missing. Raises Misconfigured if another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / _LOCK).touch(0o600)
        lock = (folder / _LOCK).open("a")
    except OSError as error:
        raise Misconfigured(f"can't use the folder {folder}: {error}") from error
    with lock:  # closing it releases the lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = f"another `crewrelay serve` keeps its jobs in {folder}: name another with --data"
            raise Misconfigured(said) from None
        except OSError as error:  # a file system without locks
            raise Misconfigured(f"can't use the folder {folder}: {error}") from error
        yield


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
            for leftover in (part, *logs_of(part)):
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
    for one in (path, *logs_of(path)):
        if one.exists():
            one.rename(aside / one.name)
    return aside
