"""The keys of a log line: they belong to a context, end with it, and have the names that saved queries know."""

import contextvars
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from crewrelay.jobs.log_keys import (
    add_log_keys,
    correlation_id,
    correlation_id_of,
    keys_of,
    log_keys,
    logged_with,
)
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.policy import Policy


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with logged_with():
        yield


def in_new_context() -> dict[str, str | int]:
    return dict(contextvars.Context().run(log_keys))


def test_a_new_context_has_no_keys() -> None:
    add_log_keys(job_id="an-id")
    assert in_new_context() == {}


def test_keys_are_added_to_those_that_there_are_and_none_is_no_key() -> None:
    add_log_keys(job_id="an-id", fence=1)
    add_log_keys(tenant="acme", fence=2, correlation_id=None)
    assert log_keys() == {"job_id": "an-id", "fence": 2, "tenant": "acme"}


def test_keys_end_with_their_block_even_if_it_raises() -> None:
    add_log_keys(request_id="r-1")

    def block() -> None:
        with logged_with(job_id="an-id"):
            add_log_keys(fence=1)
            assert log_keys() == {"request_id": "r-1", "job_id": "an-id", "fence": 1}
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        block()
    assert log_keys() == {"request_id": "r-1"}


def test_a_job_is_logged_by_its_ids_and_by_nothing_that_its_caller_wrote() -> None:
    job_input = JobInput(crew="research", inputs={"topic": "neural networks"})
    now = datetime(2026, 1, 2, tzinfo=UTC)
    job = transitions.submit("an-id", "acme", job_input, now, Policy(), "c-1")
    assert keys_of(job) == {"job_id": "an-id", "tenant": "acme", "correlation_id": "c-1"}


def test_the_correlation_id_is_that_of_the_context() -> None:
    assert correlation_id() is None
    add_log_keys(correlation_id="c-1")
    assert correlation_id() == "c-1"


@pytest.mark.parametrize("text", ["a", "A", "0", "z.Z:9-_", "x" * 64])
def test_what_may_be_a_correlation_id_is_taken_as_it_is(text: str) -> None:
    assert correlation_id_of(text) == text


@pytest.mark.parametrize("text", [None, "", "x" * 65, "a b", "a\n", "é", "a/b", '"', "a,b"])
def test_what_may_be_none_is_not(text: str | None) -> None:
    assert correlation_id_of(text) is None
