"""What every job store promises of an answer: when it is shown, and where a large one lies."""

import hashlib

import httpx
import pytest

from crewrelay.jobs.ports import JobRecord, JobStore
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, File
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.store import SqliteJobStore
from tests.support.fixtures import HandSetClock, Storage
from tests.support.stored_jobs import ANSWER, FAILURE, INPUT, claimed, loaded, submitted, text_of_compressed_size


def test_an_answer_is_shown_once_the_job_is_completed(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    store.put_answer(running, ANSWER)
    assert loaded(store, running.id).answer is None
    finished = transitions.complete(running, clock())
    store.save(running, finished)
    assert loaded(store, running.id) == JobRecord(finished, INPUT, ANSWER)


def test_the_answer_of_a_lost_lease_is_never_shown(store: JobStore, clock: HandSetClock) -> None:
    zombie = claimed(store, submitted(store, clock), clock)
    clock.pass_(seconds=61)
    holder = claimed(store, zombie, clock, "two")
    late = ANSWER.model_copy(update={"text": "too late"})
    store.put_answer(zombie, late)
    store.put_answer(holder, ANSWER)
    store.save(holder, transitions.complete(holder, clock()))
    assert loaded(store, holder.id).answer == ANSWER
    store.put_answer(zombie, late)
    assert loaded(store, holder.id).answer == ANSWER


def test_a_failed_job_shows_no_answer(store: JobStore, clock: HandSetClock) -> None:
    running = claimed(store, submitted(store, clock), clock)
    store.put_answer(running, ANSWER)
    store.save(running, transitions.fail(running, FAILURE, clock()))
    assert loaded(store, running.id).answer is None


@pytest.mark.parametrize("size", [300_000, 401_000])
def test_an_answer_that_does_not_compress_is_read_back_whole(store: JobStore, clock: HandSetClock, size: int) -> None:
    running = claimed(store, submitted(store, clock), clock)
    answer = ANSWER.model_copy(update={"text": text_of_compressed_size(size)})
    store.put_answer(running, answer)
    store.save(running, transitions.complete(running, clock()))
    assert loaded(store, running.id) == JobRecord(transitions.complete(running, clock()), INPUT, answer)


def test_an_answer_over_2_mb_is_to_be_fetched(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    running = claimed(store, submitted(store, clock), clock)
    answer = ANSWER.model_copy(update={"text": text_of_compressed_size(5_000_000)})
    store.put_answer(running, answer)
    store.save(running, transitions.complete(running, clock()))
    record = loaded(store, running.id)
    assert record.answer is None
    assert record.answer_url is not None
    assert Answer.model_validate_json(httpx.get(record.answer_url).content) == answer


def test_a_file_is_read_as_it_was_stored(store: JobStore, clock: HandSetClock) -> None:
    """By its content's hash; the answer names it."""
    running = claimed(store, submitted(store, clock), clock)
    content = bytes(range(256)) * 3000
    file = File(name="out/ü \x00.md", size=len(content), digest=hashlib.sha256(content).hexdigest(), content=content)
    assert file.disposition == "attachment; filename*=UTF-8''%C3%BC%20%2500.md"
    answer = ANSWER.model_copy(update={"files": (file,)})
    store.put_file(running, file)
    store.put_file(running, file)
    store.put_answer(running, answer)
    store.save(running, finished := transitions.complete(running, clock()))
    read = loaded(store, running.id).answer
    assert read is not None
    assert read.files == (file.model_copy(update={"content": b""}),)
    stored = store.read_file(finished, read.files[0])
    assert (httpx.get(stored).content if isinstance(stored, str) else stored) == content


def test_the_files_of_an_expired_job_are_deleted(database: Database, clock: HandSetClock) -> None:
    store = SqliteJobStore(database, clock)
    running = claimed(store, submitted(store, clock), clock)
    file = File(name="a", size=1, digest="d", content=b"a")
    store.put_file(running, file)
    store.save(running, finished := transitions.complete(running, clock()))
    clock.pass_(days=40)
    assert store.delete_expired() == 1
    assert store.read_file(finished, file) is None


def test_a_large_body_lies_in_the_bucket_under_its_contents_hash(storage: Storage, clock: HandSetClock) -> None:
    store = storage.store(clock)
    running = claimed(store, submitted(store, clock), clock)
    answer = ANSWER.model_copy(update={"text": text_of_compressed_size(401_000)})
    store.put_answer(running, answer)
    store.put_answer(running, answer)
    (stored,) = storage.s3.list_objects_v2(Bucket=storage.bucket)["Contents"]
    digest = hashlib.sha256(answer.model_dump_json().encode()).hexdigest()
    assert stored["Key"] == f"jobs/{running.id}/{digest}.json"
    assert stored["Size"] < 600_000
