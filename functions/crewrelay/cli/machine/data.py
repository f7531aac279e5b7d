"""The folder that `crewrelay serve` keeps its jobs in, and the commands that copy and restore it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crewrelay.cli.options import AsJson
from crewrelay.cli.output.text import say, say_json
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
    as_json: AsJson = False,
) -> None:
    """Copy the jobs of `crewrelay serve` to a file, while it runs."""
    with exit_on_error():
        database_in(data).backup(file)
    size = file.stat().st_size
    if as_json:
        say_json({"file": str(file), "bytes": size})
    else:
        say(f"{file}: {size:,} bytes. To restore it, stop the stack: `crewrelay restore {file}`")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A copy made by `crewrelay backup`.", dir_okay=False)],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the jobs of `crewrelay serve`, which must not be running."""
    from crewrelay.sqlite import folder

    with exit_on_error():
        replaced = folder.restore(data or DEFAULT, file)
    if as_json:
        say_json({"file": str(_path(data)), "replaced": replaced and str(replaced)})
    else:
        say(f"restored to {_path(data)}" + (f"; what was there is in {replaced}" if replaced else ""))


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
