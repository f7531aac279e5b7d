"""Limits on jobs: durations, attempts and spending."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict


class Budget(BaseModel):
    """What one job may spend in total, however often it is resumed."""

    model_config = ConfigDict(frozen=True)

    calls: int = 100  # model calls
    tokens: int = 1_000_000  # in and out
    runtime: timedelta = timedelta(hours=2)  # of all attempts; waiting between them does not count


class Policy(BaseModel):
    """Limits and intervals of running jobs."""

    model_config = ConfigDict(frozen=True)

    lease: timedelta = timedelta(seconds=60)
    max_attempts: int = 6  # in a row that journal nothing new; attempts ended by an outage do not count
    max_strikes: int = 3  # runs in a row whose crew did not stop when told to
    first_backoff: timedelta = timedelta(seconds=10)
    longest_backoff: timedelta = timedelta(minutes=5)
    longest_retry_after: timedelta = timedelta(minutes=10)  # a longer one is cut to this
    call_floor: timedelta = timedelta(seconds=2)  # the least time that a call is expected to take
    max_age: timedelta = timedelta(hours=24)
    enough_bells: int = 1000  # waiting in the queue: enough to keep the workers busy until the next sweep
    answer_within: timedelta = timedelta(days=7)  # the time that a human has for a question
    keep: timedelta = timedelta(days=30)
    budget: Budget = Budget()

    @property
    def renewal(self) -> timedelta:
        """Interval of lease renewals; two in a row may fail."""
        return self.lease / 3

    @property
    def notice(self) -> timedelta:
        """How long running jobs may go on, to end their current call, once their process is to restart or a suspect
        needs it.
        """
        return self.lease * 2

    @property
    def skew(self) -> timedelta:
        """How much clocks may differ: a lease is longer than twice this plus a renewal interval."""
        return self.lease / 12

    @property
    def ring_again(self) -> timedelta:
        """When to look again at a job after ringing for it; a lease that is not renewed has expired by then."""
        return self.lease * 1.5

    def backoff(self, attempt: int, jitter: float, asked_for: timedelta | None = None) -> timedelta:
        """Exponential backoff after the n-th failed attempt, half of it random (`jitter` from 0 to 1). A Retry-After
        (`asked_for`) is respected, with jitter on top, because many jobs may have received the same one.

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter")
        """
        longest = min(self.first_backoff * 2.0 ** min(attempt - 1, 30), self.longest_backoff)
        pause = longest * (0.5 + jitter / 2)
        if asked_for is None:
            return pause
        return max(pause, min(asked_for, self.longest_retry_after) + self.first_backoff * jitter)
