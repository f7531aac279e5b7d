"""The working directory of a run: a copy of the project, which relative paths of its code lead to.

On Linux a thread, and the threads that it starts, can have a working directory of their own. Where that is refused, the
jobs of a process share one, and only `output_file` leads here.
"""

import ctypes
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crewrelay.catalogue.project_files import own_files
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.records.answer import File

logger = logging.getLogger(__name__)

LARGEST_FILE = 10_000_000  # bytes
MOST_FILES = 100
_LARGEST_COPY = 1_000_000  # bytes; a larger file is linked, and must not be written
_LONGEST_NAME = 200  # characters
_CLONE_FS = 0x200  # of sched.h


class Workplace:
    """Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._written: dict[str, Path] = {}

    def write(self, name: str, text: str, *, create_directory: bool = True) -> None:
        """An output file; an input may be part of its name. Raises InvalidCrew if it leads outside of the folder."""
        path = Path(os.path.normpath(self.folder / name))
        fits = len(name) <= _LONGEST_NAME and self._holds(path)
        if fits and path.is_symlink():  # to a large file of the project
            path.unlink()
        if not fits or not self._holds(path.resolve()):
            raise InvalidCrew(f"The output_file {name[:_LONGEST_NAME]!r} leads outside of its folder, or is too long.")
        if create_directory:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        self._written[path.relative_to(self.folder).as_posix()] = path

    def _holds(self, path: Path) -> bool:
        return path.is_relative_to(self.folder) and path != self.folder

    def files(self) -> tuple[File, ...]:
        """The output files as they are now, sorted by name; one that is too large without its content."""
        found = [(name, path) for name, path in sorted(self._written.items()) if path.is_file()]
        if len(found) > MOST_FILES:
            logger.warning("of %d output files %d are kept", len(found), MOST_FILES)
        return tuple(_file(name, path) for name, path in found[:MOST_FILES])


def _file(name: str, path: Path) -> File:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        return File(name=name, size=size)
    content = path.read_bytes()
    return File(name=name, size=len(content), digest=hashlib.sha256(content).hexdigest(), content=content)


@contextmanager
def working_in_a_copy(project: Path) -> Iterator[Workplace]:
    with tempfile.TemporaryDirectory(prefix="crewrelay-run-", ignore_cleanup_errors=True) as place:
        _copy(project, Path(place))
        with _working_in(place):
            yield Workplace(Path(place))


def _copy(project: Path, place: Path) -> None:
    for path in own_files(project):
        target = place / path.relative_to(project)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.stat().st_size > _LARGEST_COPY:
            target.symlink_to(path.resolve())
        else:
            shutil.copyfile(path, target)


@contextmanager
def _working_in(place: str) -> Iterator[None]:
    if not _has_a_directory_of_its_own():
        if not os.access(".", os.W_OK):  # as on Lambda
            os.chdir(tempfile.gettempdir())
        yield
        return
    before = os.getcwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)


def _has_a_directory_of_its_own() -> bool:
    """Whether this thread can change its working directory, from now on, without changing that of the others."""
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    return unshare is not None and unshare(_CLONE_FS) == 0
