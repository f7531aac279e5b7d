"""What a queue may do: deliver twice, late, out of order, to nobody, and nonsense."""

from datetime import timedelta

import pytest

from crewrelay.aws.dead_letters import redrive
from crewrelay.events.bells import job_id_of
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.system import new_id
from tests.faults.bench import Bench, NewBench
from tests.faults.engines import ONLY_AWS, Dead
from tests.faults.functions import Functions
from tests.support.fixtures import Storage

CALLS = 3


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench("--delay", "0.2", policy=Policy(lease=timedelta(seconds=2)))


@pytest.fixture
def functions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Functions:
    return Functions(bench, monkeypatch)


def completed_once(bench: Bench, job_id: str) -> bool:
    story = bench.engine.transitions()[job_id]
    return [step.after.status for step in story if step.ends] == [Status.COMPLETED]


def test_a_duplicate_during_the_run_is_dropped(bench: Bench, functions: Functions) -> None:
    job = bench.submit("neural networks", ring=False)
    assert functions.deliver(*[job] * 10) == []
    assert completed_once(bench, job.id)
    assert bench.job(job.id).attempts == 1
    assert len(bench.model.log()) == CALLS


def test_a_duplicate_after_success_is_dropped(bench: Bench, functions: Functions) -> None:
    job = bench.submit("neural networks", ring=False)
    functions.deliver(job)
    before = bench.engine.rows()
    assert functions.deliver(job, job) == []
    assert bench.engine.rows() == before
    assert len(bench.model.log()) == CALLS


def test_a_message_for_a_job_that_is_gone_is_dropped(bench: Bench, functions: Functions) -> None:
    assert functions.deliver(new_id()) == []
    assert bench.engine.rows() == []
    assert bench.engine.dead_letters() == []
    assert bench.model.log() == []


def test_a_malformed_message_does_not_hurt_its_neighbours(bench: Bench, functions: Functions) -> None:
    one, two = (bench.submit(topic, ring=False) for topic in ("neural networks", "sorting"))
    assert functions.deliver(one, "{no job", two) == []
    assert completed_once(bench, one.id)
    assert completed_once(bench, two.id)
    assert bench.engine.dead_letters() == [Dead("{no job", "invalid_request")]
    assert len(bench.model.log()) == 2 * CALLS


def test_a_bell_that_comes_after_the_cancellation_starts_nothing(bench: Bench, functions: Functions) -> None:
    job_id = functions.post().json()["job_id"]
    cancelled = functions.http.post(f"/crewai/jobs/{job_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert functions.deliver(job_id) == []
    assert bench.status(job_id) is Status.CANCELLED
    assert len(bench.engine.transitions()[job_id]) == 2
    assert bench.model.log() == []


@ONLY_AWS
def test_redriving_the_message_of_a_finished_job_does_nothing(
    bench: Bench, functions: Functions, storage: Storage
) -> None:
    job = bench.submit("neural networks", ring=False)
    functions.deliver(job)
    sqs, dlq_url, queue_url = storage.sqs, storage.dlq_url, storage.queue_url
    sqs.send_message(QueueUrl=dlq_url, MessageBody=job.id)
    sqs.send_message(QueueUrl=dlq_url, MessageBody="{no job")
    before = bench.engine.rows()
    assert redrive(sqs, dlq_url, queue_url, job_id_of) == (1, 1)
    (brought_back,) = storage.messages(queue_url)
    assert functions.deliver(brought_back["Body"]) == []
    assert bench.engine.rows() == before
    assert len(bench.model.log()) == CALLS
