"""The folder that `crewrelay serve` keeps its jobs in, and the command that copies it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crewrelay.cli.terminal import exit_on_error, fail

if TYPE_CHECKING:
    from crewrelay.sqlite.database import Database

DEFAULT = Path(".crewrelay")

Data = Annotated[
    Path | None,
    typer.Option(
        envvar="CREWRELAY_DATA",
        help="The folder that `crewrelay serve` keeps its jobs in.",
        show_default=str(DEFAULT),
        file_okay=False,
    ),
]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; it must not exist.", dir_okay=False)],
    data: Data = None,
) -> None:
    """Copy the jobs of `crewrelay serve` to a file, while it runs."""
    with exit_on_error():
        database_in(data).backup(file)
    typer.echo(f"{file}: {file.stat().st_size:,} bytes. To restore it, stop the stack, move {_path(data)}* away, and")
    typer.echo(f"copy it to {_path(data)}")


def folder_of(stack: str, data: Path | None) -> Path | None:
    """The folder that a command is about; None if it is about a deployment on AWS."""
    if data and stack:
        fail("give --data or --stack, not both")
    if data is None and (stack or not _path(None).is_file()):
        return None
    return data or DEFAULT


def database_in(data: Path | None) -> "Database":
    """That of an existing folder."""
    from crewrelay.sqlite.database import Database

    if not _path(data).is_file():
        fail(f"there is no {_path(data)}: name the folder with --data")
    return Database(_path(data))


def _path(data: Path | None) -> Path:
    from crewrelay.sqlite.database import FILE

    return (data or DEFAULT) / FILE
