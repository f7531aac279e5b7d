"""What the journal costs, in CPU of the process that runs the crew: two writes a call, and a replay."""

import time
from collections.abc import Callable
from datetime import timedelta
from statistics import median, quantiles

import pytest

from crewrelay.aws import clients, rows
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.meter import EmfMeter
from crewrelay.aws.store import DynamoJobStore
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.records.policy import Budget, Policy
from crewrelay.jobs.running.execution import done_within
from crewrelay.jobs.running.lease import Lease
from crewrelay.jobs.running.run import Run
from crewrelay.retrieval.embedded.collections import EmbeddedRetriever
from crewrelay.system import new_id, utcnow
from tests.faults.bench import NewBench
from tests.faults.engines import ONLY_AWS
from tests.faults.functions import Functions
from tests.support.fixtures import Figure, Storage

CALLS = 200
POLICY = Policy(budget=Budget(calls=2 * CALLS))
INPUT = JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
REPLY = Reply(
    body='"%s"' % ("A sentence of a reply. " * 40), model="scripted", prompt_tokens=900, completion_tokens=200
)


def claimed(store: JobStore) -> Job:
    job = store.create(transitions.submit(new_id(), "acme", INPUT, utcnow(), POLICY), INPUT)
    return resumed(store, job)


def resumed(store: JobStore, job: Job) -> Job:
    claimed = transitions.claim(job, new_id(), "crew-1", utcnow(), POLICY)
    store.save(job, claimed)
    return claimed


def run_of(store: JobStore, job: Job) -> Run:
    return Run(
        store,
        utcnow,
        POLICY,
        Lease(store, job, utcnow),
        list(store.journal(job)),
        utcnow() + timedelta(minutes=10),
        True,
        done_within,
    )


@ONLY_AWS
def test_a_call_costs_two_writes_and_a_third_and_little_cpu(
    new_bench: NewBench, storage: Storage, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    bench = new_bench()
    Functions(bench, monkeypatch)  # so that the client is the product's
    client, requests = clients.dynamodb(), list[str]()
    client.meta.events.register("before-call.dynamodb", lambda model, **_: requests.append(model.name))
    inner = DynamoJobStore(client, storage.table, utcnow, Bodies(clients.s3, storage.bucket))
    store = ObservedStore(inner, EmfMeter())
    run = run_of(store, claimed(store))
    run.call(Kind.RETRIEVAL, {"query": "warm up"}, lambda: REPLY)
    requests.clear()
    journaled = cpu(lambda number: run.call(Kind.MODEL, {"number": number}, lambda: REPLY))
    writes = list(requests)
    key = rows.key("nobody", "JOB")
    bare = cpu(lambda _: client.put_item(TableName=storage.table, Item=key))
    figure(
        f"journal: {len(writes) / CALLS:g} writes and {journaled[0]:.2f} ms of CPU a call (median {journaled[1]:.2f}); "
        f"a bare put takes {bare[0]:.2f} (median {bare[1]:.2f})"
    )
    assert writes.count("UpdateItem") == CALLS
    assert writes.count("PutItem") <= CALLS * 4 / 3  # the event log is moved after three calls or more
    assert journaled[0] <= max(5, 3.5 * bare[0])  # where the SDK itself is slower, so are we


def cpu(work: Callable[[int], object]) -> tuple[float, float]:
    """Milliseconds of this process's CPU: the lower decile, as on a core that nobody else uses, and the median."""
    spent: list[float] = []
    for number in range(CALLS):
        begun = time.process_time()
        work(number)
        spent.append((time.process_time() - begun) * 1000)
    return quantiles(spent, n=10)[0], median(spent)


def test_replaying_a_finished_crew_is_cheap(storage: Storage, figure: Figure) -> None:
    store = storage.store(utcnow)
    runner = CrewRunner(lambda name=None: ExtractiveLLM(model=ExtractiveLLM.NAME), EmbeddedRetriever())
    job = claimed(store)
    lease = Lease(store, job, utcnow)
    first = Run(store, utcnow, POLICY, lease, [], utcnow() + timedelta(minutes=10), True, done_within)
    answer = runner.run(INPUT, first)
    spent: list[float] = []
    for _ in range(11):
        job = resumed(store, lease.advance(lambda job: transitions.relay(job, utcnow(), POLICY)))
        lease = Lease(store, job, utcnow)
        begun = time.process_time()
        run = Run(
            store, utcnow, POLICY, lease, list(store.journal(job)), utcnow() + timedelta(minutes=10), True, done_within
        )
        assert runner.run(INPUT, run) == answer
        spent.append((time.process_time() - begun) * 1000)
        assert run.receipt.calls_paid == first.receipt.calls_paid == answer.usage.calls
    figure(f"replay of a finished crew: {median(spent):.0f} ms of CPU, median of {len(spent)}")
    assert median(spent) <= 150
