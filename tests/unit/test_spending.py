"""What a job may yet spend: calls and tokens that are paid for, and those that are on their way."""

from datetime import timedelta
from decimal import Decimal

import pytest

from crewrelay.jobs.records.journal import Call, Kind, Receipt, Reply
from crewrelay.jobs.records.policy import Budget
from crewrelay.jobs.running.spending import Spending

BUDGET = Budget(calls=3, tokens=100)


def call(tokens: int = 10, kind: Kind = Kind.MODEL, *, nth: int = 0, seconds: float = 1) -> Call:
    """All but one of its tokens are those of the question."""
    reply = Reply(body="a reply", prompt_tokens=tokens - 1, completion_tokens=1, cost_usd=Decimal("0.5"))
    return Call(digest="a-digest", nth=nth, kind=kind, seconds=seconds, reply=reply)


def spending(*journal: Call, receipt: Receipt | None = None, budget: Budget = BUDGET) -> Spending:
    return Spending(budget, receipt or Receipt(), journal)


def test_what_was_paid_is_counted_by_the_journal_and_not_by_a_receipt_that_may_be_late() -> None:
    counted = spending(call(), call(nth=1), receipt=Receipt(calls_paid=1, calls_replayed=4, prompt_tokens=9)).receipt
    assert (counted.calls_paid, counted.calls_replayed, counted.tokens) == (2, 4, 20)
    assert counted.cost_usd == Decimal(1)


def test_a_call_that_is_added_counts_as_one_of_the_journal_does() -> None:
    known, added = spending(call(40), call(20)), spending()
    added.add(call(40))
    added.add(call(20))
    assert added.receipt == known.receipt
    assert added.expected(Kind.MODEL) == known.expected(Kind.MODEL)
    for each in (known, added):
        each.in_flight.append(Kind.MODEL)
        assert each.is_open(Kind.MODEL)  # 60 are used, and one call may take 40


def test_a_job_that_has_spent_nothing_may_make_a_call() -> None:
    assert spending().excess(Kind.MODEL) is None


@pytest.mark.parametrize(("paid", "in_flight", "may"), [(2, 0, True), (3, 0, False), (1, 1, True), (1, 2, False)])
def test_calls_on_their_way_count_towards_those_that_are_allowed(paid: int, in_flight: int, may: bool) -> None:
    spent = spending(*[call(nth=number) for number in range(paid)])
    spent.in_flight += [*[Kind.MODEL] * in_flight, Kind.TOOL, Kind.RETRIEVAL]
    excess = spent.excess(Kind.MODEL)
    assert (excess is None) == may
    if excess:
        assert str(excess) == f"The job has made {paid} model calls; 3 are allowed."


@pytest.mark.parametrize(("tokens", "may"), [(99, True), (100, False), (101, False)])
def test_no_call_begins_once_the_tokens_are_used_up(tokens: int, may: bool) -> None:
    excess = spending(call(tokens)).excess(Kind.MODEL)
    assert (excess is None) == may
    if excess:
        assert str(excess) == f"The job has used {tokens} tokens; 100 are allowed."


@pytest.mark.parametrize("kind", [Kind.TOOL, Kind.RETRIEVAL])
def test_what_is_no_models_call_is_always_allowed_and_waits_for_none(kind: Kind) -> None:
    spent = spending(call(1000), call(nth=1), call(nth=2))
    spent.in_flight.append(Kind.MODEL)
    assert spent.excess(kind) is None
    assert not spent.is_open(kind)


def test_a_call_waits_for_the_first_one_whose_size_tells_that_of_others() -> None:
    spent = spending()
    assert not spent.is_open(Kind.MODEL)
    spent.in_flight.append(Kind.TOOL)
    assert not spent.is_open(Kind.MODEL)
    spent.in_flight.append(Kind.MODEL)
    assert spent.is_open(Kind.MODEL)


@pytest.mark.parametrize(
    ("budget", "in_flight", "waits"),
    [(51, 1, False), (50, 1, True), (49, 1, True), (71, 2, False), (70, 2, True), (11, 0, False)],
)
def test_a_call_waits_if_those_on_their_way_may_use_up_the_tokens(budget: int, in_flight: int, waits: bool) -> None:
    """30 are used, 20 of them by the largest call."""
    spent = spending(call(20), call(10, nth=1), budget=Budget(calls=100, tokens=budget))
    spent.in_flight += [Kind.MODEL] * in_flight
    assert spent.is_open(Kind.MODEL) == waits


def test_one_paid_call_is_enough_to_know_of() -> None:
    spent = spending(call(10), budget=Budget(calls=100, tokens=1000))
    spent.in_flight.append(Kind.MODEL)
    assert not spent.is_open(Kind.MODEL)


def test_calls_of_a_model_that_counts_no_tokens_wait_for_none() -> None:
    uncounted = call().model_copy(update={"reply": Reply(body="a reply")})
    spent = spending(uncounted, budget=Budget(calls=100, tokens=1))
    spent.in_flight.append(Kind.MODEL)
    assert not spent.is_open(Kind.MODEL)
    assert spent.excess(Kind.MODEL) is None


def test_a_call_is_expected_to_take_as_long_as_the_longest_of_its_kind() -> None:
    spent = spending(call(seconds=3), call(seconds=5, nth=1), call(seconds=2, nth=2), call(kind=Kind.TOOL, seconds=9))
    expected = {kind: spent.expected(kind) for kind in Kind}
    assert expected == {
        Kind.MODEL: timedelta(seconds=5),
        Kind.TOOL: timedelta(seconds=9),
        Kind.RETRIEVAL: timedelta(),
        Kind.HUMAN: timedelta(),
    }
