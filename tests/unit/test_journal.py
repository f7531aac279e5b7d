"""Calls and what they cost, as they are written down: rows of earlier releases are read by later ones."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from crewrelay.jobs.records.answer import ModelUsage
from crewrelay.jobs.records.journal import Call, Kind, Receipt, Reply, digest_of, in_order, usage_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def call(
    kind: Kind = Kind.MODEL,
    *,
    model: str = "scripted/one",
    cost: str | None = "0.25",
    at: datetime | None = None,
    digest: str = "a-digest",
    nth: int = 0,
) -> Call:
    cost_usd = None if cost is None else Decimal(cost)
    reply = Reply(body="a reply", model=model, prompt_tokens=7, completion_tokens=2, cost_usd=cost_usd)
    return Call(digest=digest, nth=nth, kind=kind, seconds=1.5, fence=3, at=at, reply=reply)


def test_the_kinds_of_calls_have_the_names_that_rows_hold() -> None:
    assert [kind.value for kind in Kind] == ["model", "tool", "retrieval", "human"]


def test_of_a_reply_only_its_body_must_be_known() -> None:
    reply = Reply.model_validate({"body": "a reply"})
    assert (reply.model, reply.prompt_tokens, reply.completion_tokens, reply.cost_usd) == ("", 0, 0, None)


def test_a_call_of_an_earlier_release_has_neither_a_fence_nor_a_moment() -> None:
    older = Call.model_validate(
        {"digest": "a-digest", "nth": 0, "kind": "model", "seconds": 1, "reply": {"body": "a reply"}}
    )
    assert (older.fence, older.at) == (None, None)


def test_a_call_is_known_by_its_request_and_its_number() -> None:
    assert call(nth=2).key == "a-digest#2"


def test_a_call_without_its_body_is_the_same_otherwise() -> None:
    told = call().without_body()
    assert told.reply.body == ""
    assert told.model_copy(update={"reply": call().reply}) == call()
    assert told.reply.model_copy(update={"body": "a reply"}) == call().reply


def test_a_request_has_the_digest_that_earlier_releases_wrote() -> None:
    request = {"messages": ["what?"], "asked": "é", "again": None}
    canonical = '["crew-1","model",{"again":null,"asked":"\\u00e9","messages":["what?"]}]'
    assert json.loads(canonical) == ["crew-1", "model", request]
    assert digest_of("crew-1", Kind.MODEL, request) == hashlib.sha256(canonical.encode()).hexdigest()


def test_another_crew_kind_or_request_is_another_digest() -> None:
    digests = {
        digest_of("crew-1", Kind.MODEL, {"asked": "what?"}),
        digest_of("crew-2", Kind.MODEL, {"asked": "what?"}),
        digest_of("crew-1", Kind.TOOL, {"asked": "what?"}),
        digest_of("crew-1", Kind.MODEL, {"asked": "why?"}),
    }
    assert len(digests) == 4


def test_a_job_that_has_paid_for_nothing_has_cost_nothing() -> None:
    receipt = Receipt()
    assert receipt.model_dump() == {
        "calls_paid": 0,
        "calls_replayed": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "diverged": 0,
        "cost_usd": Decimal(),
    }
    assert receipt.tokens == 0


def test_what_a_job_cost_that_paid_before_costs_were_counted_is_unknown() -> None:
    assert Receipt.model_validate({"calls_paid": 1}).cost_usd is None


def test_a_models_call_is_paid_with_its_tokens_and_its_cost() -> None:
    receipt = Receipt().with_paid(call()).with_paid(call(cost="0.5"))
    assert receipt == Receipt(calls_paid=2, prompt_tokens=14, completion_tokens=4, cost_usd=Decimal("0.75"))
    assert receipt.tokens == 18
    assert receipt.with_paid(call(cost=None)).cost_usd is None


def test_a_models_call_that_is_answered_again_is_counted_and_costs_nothing() -> None:
    receipt = Receipt().with_paid(call())
    assert receipt.with_replayed(call()) == receipt.model_copy(update={"calls_replayed": 1})
    assert receipt.with_replayed(call()).with_replayed(call()).calls_replayed == 2


@pytest.mark.parametrize("kind", [Kind.TOOL, Kind.RETRIEVAL])
def test_what_is_no_models_call_is_on_no_receipt(kind: Kind) -> None:
    receipt = Receipt()
    assert receipt.with_paid(call(kind)) == receipt.with_replayed(call(kind)) == receipt
    assert receipt.recounted([call(kind)]) == receipt


def test_a_receipt_is_recounted_by_the_journal_but_for_its_replays() -> None:
    late = Receipt(calls_paid=1, calls_replayed=5, prompt_tokens=1, completion_tokens=1, cost_usd=Decimal(9))
    assert late.recounted([call(), call(nth=1)]) == Receipt(
        calls_paid=2, calls_replayed=5, prompt_tokens=14, completion_tokens=4, cost_usd=Decimal("0.5")
    )


def test_the_usage_of_no_calls_names_no_model() -> None:
    usage = usage_of([call(Kind.TOOL)])
    assert (usage.model, usage.calls, usage.by_model) == (None, 0, ())


def test_the_usage_of_calls_is_told_in_all_and_by_model_in_the_order_they_were_asked() -> None:
    usage = usage_of([call(model="b/two"), call(Kind.TOOL), call(model="a/one"), call(model="b/two", cost="0.5")])
    in_all = {"calls": 3, "prompt_tokens": 21, "completion_tokens": 6, "cost_usd": Decimal(1)}
    assert usage.model_dump(exclude={"by_model"}) == {"model": "b/two", **in_all}
    assert usage.by_model == (
        ModelUsage(model="b/two", calls=2, prompt_tokens=14, completion_tokens=4, cost_usd=Decimal("0.75")),
        ModelUsage(model="a/one", calls=1, prompt_tokens=7, completion_tokens=2, cost_usd=Decimal("0.25")),
    )


def test_calls_are_in_the_order_of_their_replies_and_those_of_unknown_moments_come_first() -> None:
    late, early = call(at=NOW + timedelta(seconds=1), digest="a"), call(at=NOW, digest="z")
    same, unknown, unknown_too = call(at=NOW, digest="y"), call(digest="x"), call(digest="w")
    assert in_order([late, early, same, unknown, unknown_too]) == [unknown_too, unknown, same, early, late]
