"""How long a caller waits for a job to change."""

import asyncio
from datetime import timedelta

from crewrelay.aws.polling import Polling
from crewrelay.http.long_poll import LongPoll, looks
from crewrelay.jobs.records import transitions
from crewrelay.testing import MemoryJobStore
from tests.support.fixtures import HandSetClock
from tests.support.jobs import INPUT, POLICY

PATIENCE = 10  # seconds until a test that hangs gives up


def test_a_clock_that_is_set_back_keeps_no_caller_waiting(clock: HandSetClock) -> None:
    store = MemoryJobStore(clock)
    store.create(transitions.submit("an-id", "acme", INPUT, clock(), POLICY), INPUT)
    long_poll = LongPoll(Polling(), clock, timedelta(seconds=27))

    async def wait() -> list[bool]:
        lasts = []
        async for _, is_last in looks(store, long_poll, "acme", "an-id", clock() + timedelta(seconds=0.3)):
            clock.now -= timedelta(hours=1)
            lasts.append(is_last)
        return lasts

    *earlier, last = asyncio.run(asyncio.wait_for(wait(), PATIENCE))
    assert last
    assert not any(earlier)
