"""How commands end: with an exit code, and, if they fail, a line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

import typer

from crewrelay.jobs.errors import CrewrelayError, Misconfigured
from crewrelay.jobs.text import shown


class Exit(IntEnum):
    """Ctrl-C is 130, as in every shell."""

    FAILED = 1  # refused, or wrong; the message says what to do
    USAGE = 2  # an unknown command, option or value
    JOB_FAILED = 3  # the job failed or was cancelled, or some of a batch did not complete
    JOB_WAITS = 4  # the job waits for an answer
    NO_ANSWER = 5  # the API did not answer, or is busy: the same command may succeed later


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Print the message, if any, and exit."""
    if message:
        note(f"crewrelay: {message}")
    raise typer.Exit(code)


def note(message: str) -> None:
    """Say something beside the output."""
    typer.echo(shown(message), err=True)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn a CrewrelayError into a failed command."""
    try:
        yield
    except Misconfigured as error:  # its message says what to do
        fail(str(error))
    except CrewrelayError as error:
        fail(f"{str(error).rstrip('.')}. {error.remedy}")
