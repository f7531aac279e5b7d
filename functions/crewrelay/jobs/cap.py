"""Limits a tenant's unfinished jobs. A count is cached for a second, but a refusal rests on a fresh one."""

from concurrent.futures import Future
from datetime import datetime, timedelta
from threading import Lock

from crewrelay.jobs.errors import TooManyJobs
from crewrelay.jobs.ports import Clock, JobStore

_GOOD_FOR = timedelta(seconds=1)
_SHARE = 8  # other processes admit jobs too: each uses an eighth of the free room, then counts again


class _Room:
    def __init__(self, jobs: int, until: datetime) -> None:
        self.jobs = jobs
        self.until = until


class Cap:
    """Thread-safe. `most` is the limit of unfinished jobs per tenant; None is unlimited."""

    def __init__(self, store: JobStore, clock: Clock, most: int | None) -> None:
        self._store = store
        self._clock = clock
        self._most = most
        self._turn = Lock()
        self._rooms: dict[str, _Room] = {}
        self._counts: dict[str, Future[None]] = {}  # counts in progress, at most one per tenant

    def admit(self, tenant: str) -> None:
        """Admit one more job. Raises TooManyJobs after a fresh count, or Unavailable.

        The limit is approximate: each other process may add an eighth of what was free a second ago.
        """
        while self._most is not None:
            with self._turn:  # one look at both, or a count could end between them and be made again
                if self._takes_room(tenant):
                    return
                under_way = self._counts.get(tenant)
                count = under_way or self._counts.setdefault(tenant, Future())
            if under_way is None:
                self._count(tenant, self._most, count)
            count.result()  # many who ask at once wait for one answer

    def room(self, tenant: str, jobs: int, sparing: bool = False) -> int:
        """How many of so many jobs may be submitted now, by a fresh count. `sparing` leaves an eighth of the limit to
        others. Raises Unavailable.
        """
        if self._most is None:
            return jobs
        most = self._most - (self._most // _SHARE if sparing else 0)
        return max(0, min(jobs, most - self._store.unfinished(tenant, most)))

    def _takes_room(self, tenant: str) -> bool:
        room = self._rooms.get(tenant)
        if room is None or room.jobs == 0 or self._clock() >= room.until:
            return False
        room.jobs -= 1
        return True

    def _count(self, tenant: str, most: int, count: "Future[None]") -> None:
        try:
            self._make_room(tenant, most)
        except BaseException as error:
            count.set_exception(error)
        else:
            count.set_result(None)
        finally:
            with self._turn:
                del self._counts[tenant]

    def _make_room(self, tenant: str, most: int) -> None:
        free = most - self._store.unfinished(tenant, most)
        if free <= 0:
            raise TooManyJobs(f"{most:,} jobs are pending or running, which is the limit.")
        now = self._clock()
        with self._turn:
            self._rooms = {name: room for name, room in self._rooms.items() if now < room.until}
            self._rooms[tenant] = _Room(max(1, free // _SHARE), now + _GOOD_FOR)
