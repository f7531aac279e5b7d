"""Which files are meant by the paths that somebody gives, and by what names a collection knows them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from crewrelay.retrieval.pages import FORMATS


def files_under(paths: Sequence[Path]) -> Iterator[Path]:
    """Files that are named, whatever they are, and below folders those of a known format, in order.

    What is hidden is left out, and so is what lies behind a link to a folder.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and Path(name).suffix.lower() in FORMATS:
                    yield Path(folder, name)


def source_of(path: Path) -> str:
    """The path as seen from the working directory, absolute if it is not below it."""
    absolute = Path(os.path.abspath(path))  # which leaves links as they are, as `resolve` does not
    name = absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
    return name.as_posix()


def lies_under(source: str, paths: Sequence[Path]) -> bool:
    return any(Path(source).is_relative_to(source_of(path)) for path in paths)
