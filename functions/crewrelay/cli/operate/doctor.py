"""`crewrelay doctor`."""

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from crewrelay.cli.machine.data import Data, folder_of
from crewrelay.cli.options import AsJson, Stack, Token, Url
from crewrelay.cli.output.text import say, say_line
from crewrelay.cli.terminal import Exit

if TYPE_CHECKING:
    from crewrelay.health import Check


def doctor(url: Url = "", stack: Stack = "", token: Token = "", data: Data = None, as_json: AsJson = False) -> None:
    """Check every part that a job needs; say what is wrong and how to fix it.

    Model, crews and collection are checked by the settings in this environment, the rest in the folder or the
    deployment.
    """
    from crewrelay.cli.operate import checks
    from crewrelay.crews.environment import CREW_ENVIRONMENT

    os.environ.update(CREW_ENVIRONMENT)  # before CrewAI is imported
    wanted: list[Check] = []
    with ExitStack() as until_done:
        if folder := folder_of(stack, data):
            from crewrelay.sqlite.health import folder_checks

            wanted += folder_checks(folder)
        if stack:
            from crewrelay.aws import health

            wanted += health.stack_checks(stack)
        if url or stack:
            from crewrelay.cli.api.deployment import deployment

            wanted += checks.api_checks(until_done.enter_context(deployment(url, stack, token)))
        faults = 0
        for finding in checks.diagnose([*wanted, *checks.crew_checks()]):
            faults += not finding.ok
            if as_json:
                say_line(finding._asdict())
            else:
                say(f"{'ok' if finding.ok else 'WRONG':5}  {finding.what:22}  {finding.detail}")
    if faults:
        raise typer.Exit(Exit.FAILED)
