"""How commands fail: one line that says what to do, then exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from crewrelay.jobs.errors import CrewrelayError, Misconfigured


def fail(message: str) -> NoReturn:
    """Print the message, if any, and exit with code 1."""
    if message:
        typer.echo(f"crewrelay: {message}", err=True)
    raise typer.Exit(1)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn a CrewrelayError into a failed command."""
    try:
        yield
    except Misconfigured as error:  # its message says what to do
        fail(str(error))
    except CrewrelayError as error:
        fail(f"{str(error).rstrip('.')}. {error.remedy}")
