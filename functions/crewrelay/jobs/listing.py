"""Lists of jobs, newest first: what is asked for, and where in the list its next page begins."""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.records.job import Job, Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_CURSOR = 200  # characters
_CHECK = 16  # hexadecimal digits


class Filter(NamedTuple):
    """Which of a tenant's jobs are asked for; None is any."""

    status: Status | None = None
    crew: str | None = None
    created_after: datetime | None = None

    def fits(self, job: Job) -> bool:
        return (
            self.status in (None, job.status)
            and self.crew in (None, job.crew)
            and (self.created_after is None or job.created_at > self.created_after)
        )


class Position(NamedTuple):
    """A job's place in its tenant's list. It never moves, so a page follows the one before, whatever is submitted."""

    created_at: datetime
    job_id: str

    @classmethod
    def of(cls, job: Job) -> "Position":
        return cls(job.created_at, job.id)


class Page(NamedTuple):
    """Some jobs, and the position that the next page begins after; None at the end. It may have fewer jobs than were
    asked for, even none, and a next page all the same.
    """

    jobs: list[Job]
    after: Position | None


def page_of(jobs: Iterable[Job], wanted: Filter, after: Position | None, limit: int) -> Page:
    """The page that follows `after` of all these jobs."""
    left = sorted((job for job in jobs if wanted.fits(job)), key=Position.of, reverse=True)
    left = [job for job in left if after is None or Position.of(job) < after]
    return Page(left[:limit], Position.of(left[limit - 1]) if len(left) > limit else None)


def cursor_of(tenant: str, position: Position) -> str:
    """The position as text, for its tenant alone. It is no secret: all that it gives is a place in the own list."""
    written = f"{(position.created_at - _EPOCH) // timedelta(microseconds=1)}.{position.job_id}"
    return base64.urlsafe_b64encode(f"{_check(tenant, written)}.{written}".encode()).decode().rstrip("=")


def position_of(tenant: str, cursor: str) -> Position:
    """Raises InvalidRequest if the text is not a cursor of this tenant."""
    try:
        if len(cursor) > _LONGEST_CURSOR:
            raise ValueError
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        check, _, written = text.partition(".")
        if check != _check(tenant, written):
            raise ValueError
        microseconds, _, job_id = written.partition(".")
        return Position(_EPOCH + timedelta(microseconds=int(microseconds)), job_id)
    except (ValueError, binascii.Error, OverflowError):
        raise InvalidRequest("cursor: must be the next_cursor of a page of your own jobs") from None


def _check(tenant: str, written: str) -> str:
    return hashlib.sha256(f"{tenant}\n{written}".encode()).hexdigest()[:_CHECK]
