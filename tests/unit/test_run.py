"""One attempt at a job: what it pays for, what its journal tells it again, and what it has cost."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Barrier

import pytest

from crewrelay.jobs.errors import StaleWrite, Unavailable
from crewrelay.jobs.records.answer import ModelUsage, Usage
from crewrelay.jobs.records.journal import Kind, Receipt, Reply, in_order
from crewrelay.jobs.records.policy import Budget
from crewrelay.jobs.running.run import RunStopped
from tests.support.fixtures import HandSetClock
from tests.support.runs import POLICY, TIMEOUT, Attempts, Meanwhile, ask, reason, replay, reply

QUESTIONS = ("one", "two", "two", "three")


# ---- the journal


@pytest.mark.parametrize("order", sorted(set(itertools.permutations(QUESTIONS))), ids=" ".join)
def test_a_resumed_run_is_answered_by_the_journal_in_any_order(attempts: Attempts, order: Sequence[str]) -> None:
    first = attempts.start()
    told = [ask(first, question, f"{question}, {n}") for n, question in enumerate(QUESTIONS)]
    second = attempts.start()
    again = [replay(second, question) for question in order]
    assert sorted(again) == sorted(told)
    assert all(answer.startswith(question) for question, answer in zip(order, again, strict=True))


def test_identical_calls_are_told_apart_by_their_number(attempts: Attempts) -> None:
    first = attempts.start()
    assert [ask(first, "again", answer) for answer in ("a", "b", "c")] == ["a", "b", "c"]
    assert sorted(call.nth for call in attempts.journal) == [0, 1, 2]
    second = attempts.start()
    assert [replay(second, "again") for _ in range(3)] == ["a", "b", "c"]
    assert ask(second, "again", "d") == "d"


def test_identical_calls_at_once_each_get_a_number_of_their_own(attempts: Attempts) -> None:
    together = Barrier(8)
    run = attempts.start()
    ask(run, "something else")  # until one has ended, nobody knows how large a call is

    def asked(answer: int) -> str:
        def pay() -> Reply:
            together.wait(TIMEOUT)
            return reply(str(answer))

        return run.call(Kind.MODEL, {"asked": "the same"}, pay).body

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(asked, range(8)))
    assert sorted(told) == [str(n) for n in range(8)]
    resumed = attempts.start()
    assert sorted(replay(resumed, "the same") for _ in range(8)) == sorted(told)


def test_the_same_words_to_a_model_and_to_a_tool_are_two_calls(attempts: Attempts) -> None:
    run = attempts.start()
    assert (ask(run, "what?", "a"), ask(run, "what?", "b", Kind.TOOL)) == ("a", "b")
    resumed = attempts.start()
    assert (replay(resumed, "what?", Kind.TOOL), replay(resumed, "what?")) == ("b", "a")


def test_a_call_that_fails_is_not_journaled_and_gives_its_number_back(attempts: Attempts) -> None:
    run = attempts.start()

    def pay() -> Reply:
        raise TimeoutError("the model took too long")

    with pytest.raises(TimeoutError, match="too long"):
        run.call(Kind.MODEL, {"asked": "one"}, pay)
    assert attempts.journal == []
    assert not run.outcome.done()
    ask(run, "one")
    assert [call.nth for call in attempts.journal] == [0]


def test_a_changed_crew_is_told_none_of_the_old_replies(attempts: Attempts) -> None:
    ask(attempts.start(), "one", "old")
    assert ask(attempts.start(fingerprint="crew-2"), "one", "new") == "new"
    assert attempts.job.receipt.calls_paid == 2


def test_a_run_knows_what_its_journal_holds_of_each_kind(attempts: Attempts) -> None:
    first = attempts.start()
    ask(first, "one", "1")
    ask(first, "a tool", "2", Kind.TOOL)
    assert first.journaled(Kind.MODEL) == []
    run = attempts.start()
    assert [[told.body for told in run.journaled(kind)] for kind in Kind] == [["1"], ["2"], [], []]


def test_what_somebody_else_kept_first_is_what_both_are_told(attempts: Attempts) -> None:
    zombie, successor = attempts.start(), attempts.start()
    assert ask(successor, "one", "the first") == "the first"
    assert ask(zombie, "one", "the second") == "the first"


def test_a_call_is_in_the_journal_before_its_receipt_is_written(attempts: Attempts) -> None:
    run = attempts.start()
    attempts.table.failing_saves = 1
    assert ask(run, "one") == "yes"  # the run goes on: the next claim recounts
    assert [call.reply.body for call in attempts.journal] == ["yes"]
    assert attempts.job.receipt.calls_paid == 0
    ask(run, "two")
    assert attempts.job.receipt == run.receipt
    assert (run.receipt.calls_paid, run.receipt.tokens) == (2, 20)


def test_what_was_paid_is_kept_although_the_table_fails_for_half_a_minute(attempts: Attempts) -> None:
    run, begun = attempts.start(), attempts.clock()
    attempts.table.failing_puts = 6
    assert ask(run, "one") == "yes"
    assert attempts.clock() - begun == timedelta(seconds=0.5 + 1 + 2 + 4 + 8 + 16)
    assert replay(attempts.start(), "one") == "yes"


def test_a_table_that_fails_for_longer_fails_the_call_and_nothing_is_counted(attempts: Attempts) -> None:
    run = attempts.start()
    attempts.table.failing_puts = 7
    with pytest.raises(Unavailable):
        ask(run, "one")
    assert (run.receipt.calls_paid, run.usage().calls, attempts.journal) == (0, 0, [])


def test_a_receipt_that_is_refused_stops_the_run_and_the_entry_stays(attempts: Attempts) -> None:
    run = attempts.start()

    def pay() -> Reply:
        attempts.cancel()
        return reply("too late, but paid")

    assert run.call(Kind.MODEL, {"asked": "one"}, pay).body == "too late, but paid"
    assert isinstance(reason(run), StaleWrite)
    assert [call.reply.body for call in attempts.journal] == ["too late, but paid"]
    with pytest.raises(RunStopped):
        ask(run, "two")


def test_a_job_that_gets_further_has_a_fresh_lease_and_all_its_attempts(
    attempts: Attempts, clock: HandSetClock
) -> None:
    run = attempts.start()
    assert attempts.job.stalled == 1
    clock.pass_(seconds=50)
    ask(run, "one")
    clock.pass_(seconds=50)
    ask(run, "two")
    assert attempts.job.stalled == 0
    assert attempts.job.lease_until is not None
    assert (attempts.job.lease_until - clock()).total_seconds() == 60


# ---- what it has cost


def test_a_claim_recounts_by_the_journal_what_was_paid(attempts: Attempts) -> None:
    first = attempts.start()
    attempts.table.failing_saves = 2
    ask(first, "one", tokens=30)
    ask(first, "a tool", kind=Kind.TOOL)
    assert attempts.job.receipt.calls_paid == 0
    receipt = attempts.start().receipt
    assert (receipt.calls_paid, receipt.prompt_tokens, receipt.completion_tokens) == (1, 29, 1)


def test_the_receipt_counts_models_only_and_apart_what_was_replayed(attempts: Attempts) -> None:
    first = attempts.start()
    ask(first, "one")
    ask(first, "a tool", kind=Kind.TOOL)
    second = attempts.start()
    replay(second, "one")
    replay(second, "a tool", Kind.TOOL)
    ask(second, "two")
    receipt = attempts.job.receipt
    assert (receipt.calls_paid, receipt.calls_replayed, receipt.tokens) == (2, 1, 20)


def test_replays_of_earlier_attempts_stay_counted(attempts: Attempts) -> None:
    ask(attempts.start(), "one")
    for n in range(2):
        run = attempts.start()
        replay(run, "one")
        ask(run, f"more {n}")
    assert attempts.job.receipt.calls_replayed == 2


def test_usage_is_what_this_run_asked_of_models_whether_paid_or_replayed(attempts: Attempts) -> None:
    ask(attempts.start(), "one", tokens=30)
    run = attempts.start()
    assert run.usage() == Usage(model=None, cost_usd=Decimal())
    replay(run, "one")
    ask(run, "two", tokens=5)
    ask(run, "a tool", kind=Kind.TOOL)
    used = {"calls": 2, "prompt_tokens": 33, "completion_tokens": 2}
    assert run.usage().model_dump(exclude={"by_model"}) == {"model": "scripted/one", "cost_usd": None, **used}


def test_usage_is_told_model_by_model(attempts: Attempts) -> None:
    run = attempts.start()
    ask(run, "one", tokens=30, model="scripted/large", cost="0.03")
    ask(run, "two", tokens=5, model="scripted/small", cost="0.00000005")
    ask(run, "three", tokens=7, model="scripted/large", cost="0.01")
    usage = run.usage()
    assert (usage.model, usage.calls, usage.cost_usd) == ("scripted/large", 3, Decimal("0.04000005"))
    assert usage.by_model == (
        ModelUsage(model="scripted/large", calls=2, prompt_tokens=35, completion_tokens=2, cost_usd=Decimal("0.04")),
        ModelUsage(model="scripted/small", calls=1, prompt_tokens=4, completion_tokens=1, cost_usd=Decimal("5e-8")),
    )


def test_one_call_of_unknown_cost_makes_the_sum_unknown_and_only_its_models(attempts: Attempts) -> None:
    run = attempts.start()
    ask(run, "one", model="scripted/large", cost="0.03")
    ask(run, "two", model="scripted/small")
    ask(run, "three", model="scripted/small", cost="0.01")
    assert [used.cost_usd for used in run.usage().by_model] == [Decimal("0.03"), None]
    assert (run.usage().cost_usd, attempts.job.receipt.cost_usd) == (None, None)
    assert attempts.start().receipt.cost_usd is None


def test_a_call_costs_once_however_often_it_is_replayed_and_however_its_job_ends(attempts: Attempts) -> None:
    first = attempts.start()
    ask(first, "one", cost="0.03")
    ask(first, "a tool", kind=Kind.TOOL)
    second = attempts.start()
    replay(second, "one")
    assert (second.usage().cost_usd, second.receipt.cost_usd) == (Decimal("0.03"), Decimal("0.03"))
    attempts.table.failing_saves = 1  # the receipt of what comes is not written, the journal has it
    ask(second, "two", cost="0.005")
    attempts.fail(second)
    third = attempts.retry()
    assert attempts.job.receipt.calls_paid == 1
    replay(third, "one")
    ask(third, "two", cost="0.007")  # asked anew: the crew could do nothing with the reply, which was paid all the same
    assert (third.usage().calls, third.usage().cost_usd) == (2, Decimal("0.037"))
    assert (attempts.job.receipt.calls_paid, attempts.job.receipt.cost_usd) == (3, Decimal("0.042"))


def test_a_call_is_kept_with_the_claim_under_which_it_was_paid_and_when(
    attempts: Attempts, clock: HandSetClock
) -> None:
    def slow(text: str) -> Reply:
        clock.pass_(seconds=2.5)
        return reply(text)

    begun = clock()
    attempts.start().call(Kind.MODEL, {"asked": "one"}, lambda: slow("yes"))
    attempts.start().call(Kind.MODEL, {"asked": "two"}, lambda: slow("yes"))
    kept = [(call.fence, call.seconds, call.at) for call in in_order(reversed(attempts.journal))]
    assert kept == [(1, 2.5, begun + timedelta(seconds=2.5)), (2, 2.5, begun + timedelta(seconds=5))]


def test_of_a_job_that_paid_before_costs_were_counted_the_cost_is_unknown() -> None:
    old = {"calls_paid": 2, "calls_replayed": 1, "prompt_tokens": 20, "completion_tokens": 4}
    assert Receipt.model_validate(old).cost_usd is None
    assert Receipt.model_validate(old | {"calls_paid": 0}).cost_usd == 0
    usage = {"model": "gpt-4o", "calls": 3, "prompt_tokens": 30, "completion_tokens": 15}
    assert (Usage.model_validate(usage).cost_usd, Usage.model_validate(usage).by_model) == (None, ())


def test_what_remains_of_a_run_leaves_time_to_tell_of_a_calls_end(attempts: Attempts, clock: HandSetClock) -> None:
    run = attempts.start(seconds=900)
    assert run.remaining == timedelta(seconds=899.5)
    clock.pass_(seconds=890)
    assert run.remaining == timedelta(seconds=9.5)


def test_what_remains_is_no_more_than_the_job_may_still_take(attempts: Attempts) -> None:
    short = POLICY.model_copy(update={"budget": Budget(runtime=timedelta(seconds=30))})
    assert attempts.start(short, seconds=900).remaining == timedelta(seconds=29.5)


@pytest.mark.parametrize("seconds", [0.25, 0])
def test_a_short_call_is_kept_with_its_own_time(attempts: Attempts, clock: HandSetClock, seconds: float) -> None:
    def pay() -> Reply:
        clock.pass_(seconds=seconds or -1)  # a clock may be set back: no call takes less than no time
        return reply("yes")

    attempts.start().call(Kind.MODEL, {"asked": "one"}, pay)
    assert [call.seconds for call in attempts.journal] == [seconds]


def test_a_run_knows_whether_an_error_that_may_pass_ends_its_job(attempts: Attempts) -> None:
    two = POLICY.model_copy(update={"max_attempts": 2})
    assert [attempts.start(two).is_last_attempt for _ in range(2)] == [False, True]


# ---- its threads take turns


def meanwhile(monkeypatch: pytest.MonkeyPatch, method: str, work: Callable[[], object]) -> Meanwhile:
    """Begin this on another thread while a receipt is being counted on."""
    rival, count = Meanwhile(work), getattr(Receipt, method)

    def slow(receipt: Receipt, call: object) -> object:
        counted = count(receipt, call)
        rival()
        return counted

    monkeypatch.setattr(Receipt, method, slow)
    return rival


def test_two_calls_that_end_at_once_are_both_counted(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    run = attempts.start()
    ask(run, "zero")
    rival = meanwhile(monkeypatch, "with_paid", lambda: ask(run, "two"))
    ask(run, "one")
    rival.join()
    assert (run.receipt.calls_paid, run.receipt.tokens) == (3, 30)


def test_two_replays_at_once_are_both_counted(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    first = attempts.start()
    for question in ("one", "two"):
        ask(first, question)
    run = attempts.start()
    rival = meanwhile(monkeypatch, "with_replayed", lambda: replay(run, "two"))
    replay(run, "one")
    rival.join()
    assert run.receipt.calls_replayed == 2


def test_no_number_is_taken_by_two_calls(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    run = attempts.start()
    rival = Meanwhile(lambda: ask(run, "same", "b", Kind.TOOL))

    class Taken(set[int]):
        def __contains__(self, number: object) -> bool:
            found = super().__contains__(number)
            rival()
            return found

    monkeypatch.setattr(run, "_numbers", defaultdict(Taken))
    ask(run, "same", "a", Kind.TOOL)
    rival.join()
    assert sorted(call.nth for call in attempts.journal) == [0, 1]
