"""How commands fail: one line that says what to do, and exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from crewrelay.jobs.errors import CrewrelayError, Misconfigured


def fail(message: str) -> NoReturn:
    if message:
        typer.echo(f"crewrelay: {message}", err=True)
    raise typer.Exit(1)


@contextmanager
def exit_on_error() -> Iterator[None]:
    try:
        yield
    except Misconfigured as error:  # its message is its remedy
        fail(str(error))
    except CrewrelayError as error:
        fail(f"{str(error).rstrip('.')}. {error.remedy}")
