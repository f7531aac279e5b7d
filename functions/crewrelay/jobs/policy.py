"""What the service allows a job: how long things may take, how often, how much may be spent."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict


class Budget(BaseModel):
    """What one job may spend in its whole life, however often it is resumed."""

    model_config = ConfigDict(frozen=True)

    calls: int = 100  # of models
    tokens: int = 1_000_000  # in and out
    runtime: timedelta = timedelta(hours=2)  # in all its attempts; what it waits between them is not counted


class Policy(BaseModel):
    """The rules by which jobs are run."""

    model_config = ConfigDict(frozen=True)

    lease: timedelta = timedelta(seconds=60)
    max_attempts: int = 6  # in a row that journal nothing new; those that an outage ends are not counted
    max_strikes: int = 3  # in a row: runs whose crew did not stop with them
    first_backoff: timedelta = timedelta(seconds=10)
    longest_backoff: timedelta = timedelta(minutes=5)
    longest_retry_after: timedelta = timedelta(minutes=10)  # that is honoured
    call_floor: timedelta = timedelta(seconds=2)  # no call is expected to take less
    max_age: timedelta = timedelta(hours=24)
    enough_bells: int = 1000  # in the queue, to keep the workers busy from one sweep to the next
    keep: timedelta = timedelta(days=30)
    budget: Budget = Budget()

    @property
    def renewal(self) -> timedelta:
        """How often a holder renews its lease: two renewals in a row may fail."""
        return self.lease / 3

    @property
    def notice(self) -> timedelta:
        """How long jobs may go on whose process is to be started anew, or is needed by a suspect: for the call that is
        under way.
        """
        return self.lease * 2

    @property
    def skew(self) -> timedelta:
        """By how much clocks may differ: a lease outlives twice that plus a renewal."""
        return self.lease / 12

    @property
    def ring_again(self) -> timedelta:
        """When to look again at a job that was rung for: a lease without renewals is over by then."""
        return self.lease * 1.5

    def backoff(self, attempt: int, jitter: float, asked_for: timedelta | None = None) -> timedelta:
        """The pause after the n-th failed attempt: doubling, half of it random (`jitter` from 0 to 1), and not before
        the moment that whoever refused us has asked for. Many jobs may have been told the same one: they are spread.

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter")
        """
        longest = min(self.first_backoff * 2.0 ** min(attempt - 1, 30), self.longest_backoff)
        pause = longest * (0.5 + jitter / 2)
        if asked_for is None:
            return pause
        return max(pause, min(asked_for, self.longest_retry_after) + self.first_backoff * jitter)
