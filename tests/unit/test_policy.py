"""The pauses between attempts: doubling, bounded, and half of each left to chance."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewrelay.jobs.records.policy import Policy

POLICY = Policy(first_backoff=timedelta(seconds=5), longest_backoff=timedelta(minutes=10))


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (9, 600), (31, 600), (10_000, 600)]
)
def test_a_pause_is_between_half_of_its_longest_and_that(attempt: int, longest: float) -> None:
    shortest, middle, full = (POLICY.backoff(attempt, jitter).total_seconds() for jitter in (0.0, 0.5, 1.0))
    assert (shortest, middle, full) == (longest / 2, longest * 0.75, longest)


@given(
    attempt=st.integers(1, 1_000_000),
    jitter=st.floats(0, 1),
    first=st.timedeltas(timedelta(milliseconds=1), timedelta(hours=1)),
    longest=st.timedeltas(timedelta(milliseconds=1), timedelta(days=1)),
)
def test_no_pause_is_longer_than_the_longest_nor_shorter_than_half_the_first(
    attempt: int, jitter: float, first: timedelta, longest: timedelta
) -> None:
    pause = Policy(first_backoff=first, longest_backoff=longest).backoff(attempt, jitter)
    rounding = timedelta(microseconds=1)
    assert min(first, longest) / 2 - rounding <= pause <= longest


def test_a_first_pause_longer_than_the_longest_is_cut_too() -> None:
    policy = Policy(first_backoff=timedelta(hours=1), longest_backoff=timedelta(seconds=30))
    assert policy.backoff(1, 1.0) == timedelta(seconds=30)


@pytest.mark.parametrize("lease", [timedelta(seconds=3), timedelta(seconds=60), timedelta(minutes=10)])
def test_a_lease_outlives_two_failed_renewals_and_clocks_that_differ(lease: timedelta) -> None:
    policy = Policy(lease=lease)
    assert policy.renewal * 3 <= lease
    assert policy.renewal + 2 * policy.skew < lease


@pytest.mark.parametrize("lease", [timedelta(seconds=3), timedelta(seconds=60), timedelta(minutes=10)])
def test_nobody_is_rung_for_again_before_a_lease_without_renewals_is_over(lease: timedelta) -> None:
    policy = Policy(lease=lease)
    assert policy.ring_again - policy.skew >= lease


@pytest.mark.parametrize(
    ("asked_for", "earliest", "latest"),
    [(0, 2.5, 5), (1, 2.5, 6), (60, 60, 65), (600, 600, 605), (86_400, 600, 605)],
    ids=["nothing", "less than our own", "more", "the longest", "a day, which is a person's business"],
)
def test_a_pause_that_was_asked_for_is_kept_up_to_the_longest_and_spread(
    asked_for: float, earliest: float, latest: float
) -> None:
    asked = timedelta(seconds=asked_for)
    pauses = [POLICY.backoff(1, jitter, asked).total_seconds() for jitter in (0.0, 1.0)]
    assert pauses == [earliest, latest]


def test_the_shipped_attempts_outlast_a_storm_of_minutes() -> None:
    policy = Policy()
    pauses = [policy.backoff(attempt, 0.5) for attempt in range(1, policy.max_attempts)]
    assert timedelta(minutes=3) < sum(pauses, timedelta()) < timedelta(minutes=5)


def test_the_shipped_limits_are_those_that_the_documents_name() -> None:
    second = timedelta(seconds=1)
    assert Policy().model_dump() == {
        "lease": 60 * second,
        "max_attempts": 6,
        "max_strikes": 3,
        "first_backoff": 10 * second,
        "longest_backoff": 300 * second,
        "longest_retry_after": 600 * second,
        "call_floor": 2 * second,
        "max_age": timedelta(days=1),
        "answer_within": timedelta(days=7),
        "enough_bells": 1000,
        "keep": timedelta(days=30),
        "budget": {"calls": 100, "tokens": 1_000_000, "runtime": timedelta(hours=2)},
    }
    parts = Policy(lease=60 * second)
    assert (parts.renewal, parts.notice, parts.skew) == (20 * second, 120 * second, 5 * second)
    assert parts.ring_again == 90 * second
