"""Finds the files under given paths, opens them safely, and names them as sources of documents."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

FORMATS = frozenset({".txt", ".text", ".md", ".markdown", ".html", ".htm", ".xhtml", ".pdf", ".docx"})


class Unreadable(Exception):
    """A file that can't be ingested; the message says why."""


class File(NamedTuple):
    """A path to read, and the folder that its symbolic links must not leave."""

    path: Path
    folder: Path


def files_under(paths: Sequence[Path]) -> Iterator[File]:
    """Given files of any format, and files of a known format below given folders, in order.

    Hidden files and folders, and links to folders, are skipped.
    """
    for path in paths:
        if not os.path.isdir(path) or (os.path.islink(path) and not _lies_in(path, path.parent)):
            yield File(path, path.parent)
        else:
            yield from _below(path)


def _below(top: Path) -> Iterator[File]:
    """Iterative, because a tree may be deeper than Python's stack."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
        except OSError:
            yield File(folder, top)  # opening it will report why
            continue
        found = [folder / name for name in names]
        folders = [path for path in found if os.path.isdir(path)]
        yield from (File(path, top) for path in found if path.suffix.lower() in FORMATS and not os.path.isdir(path))
        waiting += [path for path in reversed(folders) if not os.path.islink(path)]


@contextmanager
def opened(file: File) -> Iterator[int]:
    """A descriptor of a regular file inside its folder. Raises Unreadable."""
    try:
        descriptor = _opened(os.path.realpath(file.path, strict=True), os.path.realpath(file.folder, strict=True))
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(target: str, folder: str) -> int:
    """Opens each path component with O_NOFOLLOW, so that no concurrent change can lead outside the folder."""
    if not Path(target).is_relative_to(folder):
        raise Unreadable("it is a link that leads out of its folder; name what it leads to instead")
    if not stat.S_ISDIR((status := os.stat(target, follow_symlinks=False)).st_mode):
        _refuse_unless_regular(status)  # before opening: opening a device may have effects
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for part in Path(target).relative_to(folder).parts:
        above = descriptor
        try:
            descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
        finally:
            os.close(above)
    try:
        _refuse_unless_regular(os.fstat(descriptor))
    except Unreadable:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_unless_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("it is not a regular file")


def _lies_in(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def source_of(path: Path) -> str:
    """The path relative to the working directory, absolute if it is not below it."""
    absolute = Path(os.path.abspath(path))  # unlike `resolve`, this does not follow links
    name = absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
    return name.as_posix()


def lies_under(source: str, paths: Sequence[Path]) -> bool:
    return any(Path(source).is_relative_to(source_of(path)) for path in paths)


def is_gone(source: str) -> bool:
    """Whether the file does not exist; False if it merely can't be accessed."""
    try:
        os.stat(source)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
