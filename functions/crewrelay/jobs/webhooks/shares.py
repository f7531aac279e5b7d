"""How many deliveries of a process one tenant may have under way, so that its slow receivers keep no other waiting."""

from collections import defaultdict
from datetime import datetime, timedelta
from threading import Lock

from crewrelay.jobs.records.subscription import LEASE

MOST_AT_ONCE = 6  # of the ten that an invocation has threads for
LONGEST_PAUSE = timedelta(minutes=15)  # that a message of the queue can be delayed
_UNKNOWN = timedelta(seconds=1)  # how long a delivery takes, before one has ended


class _Share:
    def __init__(self) -> None:
        self.under_way = 0
        self.lasts = _UNKNOWN  # the last deliveries, later ones weighing more
        self.until: datetime | None = None  # when those that were put off will have had their turn

    def matters(self, now: datetime) -> bool:
        return self.under_way > 0 or (self.until is not None and self.until > now)


class Shares:
    """Thread-safe."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._of: defaultdict[str, _Share] = defaultdict(_Share)

    def take(self, tenant: str, now: datetime) -> timedelta | None:
        """None if a delivery may begin, to be given back. Else how long to put it off, behind those that were before:
        it comes at the pace at which this tenant's receivers answer.
        """
        with self._turn:
            share = self._of[tenant]
            if share.under_way < MOST_AT_ONCE:
                share.under_way += 1
                return None
            until = max(share.until or now, now)
            if until > now + 2 * LONGEST_PAUSE:  # the clock was set back
                until = now
            share.until = min(until + share.lasts / MOST_AT_ONCE, now + LONGEST_PAUSE)
            return share.until - now

    def give_back(self, tenant: str, began: datetime, now: datetime) -> None:
        with self._turn:
            share = self._of[tenant]
            share.under_way -= 1
            share.lasts = (share.lasts + min(max(timedelta(), now - began), LEASE)) / 2
            if not share.under_way:
                kept = {name: each for name, each in self._of.items() if each.matters(now)}
                self._of = defaultdict(_Share, kept)
