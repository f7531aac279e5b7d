"""What the stack does when a crew process ends."""

import asyncio

import pytest

from crewrelay.local.child import MISCONFIGURED, RECYCLED
from crewrelay.local.engines import OnAws
from crewrelay.local.stack import Stack, StackFailed


async def kept_running(*codes: int) -> None:
    """Until the stack fails; the crew processes end with these codes."""
    stack, ends = Stack(OnAws(), 1, auth=False), iter(codes)

    async def run_crew(*_: object) -> int:
        return next(ends)

    vars(stack)["_run_crew"] = run_crew
    await stack._keep_crew_running({}, "/nonexistent")


def test_a_crew_process_is_started_again_and_a_line_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StackFailed):
        asyncio.run(kept_running(RECYCLED, -9, MISCONFIGURED))
    assert capsys.readouterr().err.splitlines() == [
        "crewrelay: a crew in a crew process does not stop, so that process has ended; starting it again",
        "crewrelay: a crew process ended with code -9; starting it again",
    ]
