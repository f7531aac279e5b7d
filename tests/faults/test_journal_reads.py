"""What a relay costs in reads: the journal once, page by page, and nothing that grows with the relays before it."""

import os
from random import Random
from typing import Any

import pytest

from crewrelay.aws import rows
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput
from crewrelay.jobs.records.journal import Call, Kind, Reply
from crewrelay.jobs.records.policy import Policy
from crewrelay.system import new_id
from tests.support.bill import size
from tests.support.fixtures import Figure, HandSetClock, Storage

POLICY = Policy()
INPUT = JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
LONG_FORM = os.environ.get("FAULTS") == "long"
RELAYS = 20
SYLLABLES = "a ne u ral net work is ma the ti cal func tion that learns from ex am ples in the da ta".split()


def journaled(storage: Storage, clock: HandSetClock, calls: int) -> Job:
    store = storage.store(clock)
    job = store.create(transitions.submit(new_id(), "acme", INPUT, clock(), POLICY), INPUT)
    requests: list[Any] = []
    for number in range(calls):
        answer = "".join(Random(number).choices(SYLLABLES, k=400))  # a thousand characters that compress as prose does
        reply = Reply(body=answer, model="openai/gpt-4o-mini", prompt_tokens=900, completion_tokens=200)
        call = Call(digest=f"{number:064x}", nth=0, kind=Kind.MODEL, seconds=3, fence=1, at=clock(), reply=reply)
        body = store._bodies.put(job.id, call.model_dump_json()) | {"entry": call.without_body().model_dump_json()}
        requests.append({"PutRequest": {"Item": rows.body_item(job, rows.call_sk(call), body)}})
    for start in range(0, calls, 25):
        storage.dynamodb.batch_write_item(RequestItems={storage.table: requests[start : start + 25]})
    return job


@pytest.mark.parametrize("calls", [1_000, 5_000] if LONG_FORM else [200])
def test_a_claim_reads_the_journal_once_whatever_came_before(
    storage: Storage, clock: HandSetClock, calls: int, figure: Figure
) -> None:
    store, job = storage.store(clock), journaled(storage, clock, calls)
    read: list[int] = []
    storage.dynamodb.meta.events.register(
        "after-call.dynamodb.Query", lambda parsed, **_: read.append(sum(map(size, parsed["Items"])))
    )
    units = []
    for _ in range(RELAYS):
        claimed = transitions.claim(job, "one", "crew-1", clock(), POLICY)
        store.save(job, claimed)
        read.clear()
        assert len({call.key for call in store.journal(claimed)}) == calls
        units.append(sum(max(1, -(-page // 4096)) for page in read))
        job = transitions.relay(claimed, clock(), POLICY)
        store.save(claimed, job)
        clock.pass_(seconds=1)
    assert len(set(units)) == 1
    each = units[0]
    figure(
        f"journal of {calls:,} calls: {each:,} read units a claim in {len(read)} pages, {each * RELAYS:,} for "
        f"{RELAYS} relays (${each * RELAYS * 0.125e-6:.4f}), {each / calls:.2f} a call"
    )
    assert each <= calls  # less than one unit a call
