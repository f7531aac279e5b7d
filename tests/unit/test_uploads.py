"""Files of lines become jobs: what each line and each file comes to, at the tenant's pace, and when it is cancelled."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from crewrelay.jobs.batches import uploads
from crewrelay.jobs.errors import IdempotencyConflict, Unavailable
from crewrelay.jobs.records.batch import CHUNK, LARGEST_FILE, MOST_LINES, Batch, UploadedFile, UploadState
from crewrelay.jobs.records.job import Job, JobInput, Status
from crewrelay.jobs.records.subscription import Subscription
from tests.support.fixtures import HandSetClock
from tests.support.uploads import INVOCATION, POLICY, MemoryFiles, Office, line


@pytest.fixture
def office(clock: HandSetClock) -> Office:
    return Office(clock)


def test_each_line_is_a_job(office: Office) -> None:
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(250)))
    assert office.bell.rings == [batch.id]
    office.work(batch)
    assert office.state(batch) == (UploadState.SUBMITTED, "")
    assert office.counts(batch) == {"pending": 250}
    assert sorted(office.items(batch)) == sorted(f"n{number}" for number in range(250))
    jobs = list(office.batches.jobs(batch))
    assert [job.batch_item for job in jobs] == list(range(250))
    record = office.table.load(jobs[0].id)
    assert record
    assert record.input.collection == "news"  # of the token that created the batch
    assert office.files.kept == {}
    assert len(office.doorbell.rings) == 250


LINES = [
    (line("ok"), ""),
    (b"", None),
    (line("ok", topic="another"), "line 3: custom_id: is the custom_id of item 0, too"),
    (b"  \r", None),
    (line("long", topic="x" * 1_048_576), "line 5: is longer than 262,144 bytes"),
    (line("crlf") + b"\r", ""),
    (line("bad", topic="\xff")[:-2].replace(b"\\u00ff", b"\xff") + b'"}', "line 7: is not UTF-8"),
    (b'{"topic": ', "line 8: is not JSON"),
    (b"[" * 200_000, "line 9: is not JSON"),
    (b"17", "line 10: must be a JSON object"),
    (b'{"topic": "it", "language": "en", "custom_id": "\xc3\xa4"}', "line 11: custom_id: must be 1 to 64 printable"),
    (line("wrong", language="english"), "line 12: language: must be a BCP 47 language tag"),
    (line(), ""),
    (line("foreign", collection="secret"), "line 14: collection: This token may not search the collection secret"),
    (line("nan").replace(b'"neural networks"', b"NaN"), "line 15: is not JSON"),
    (line("7"), "line 16: custom_id: is the custom_id of item 7, too"),
    (b"\xef\xbb\xbf" + line("bom"), "line 17: is not JSON"),
    (line("last"), ""),
]


def test_what_is_wrong_with_a_line_spoils_no_other(office: Office) -> None:
    batch = office.upload(b"\xef\xbb\xbf" + b"\n".join(text for text, _ in LINES))
    office.work(batch)
    items = [item for _, some in office.batches.counting.chunks(batch) for item in some]
    expected = [rejection for _, rejection in LINES if rejection is not None]
    assert len(items) == len(expected)
    for item, rejection in zip(items, expected, strict=True):
        assert item.rejection.startswith(rejection), item
        assert bool(item.rejection) == bool(rejection), item
    assert [item.custom_id for item in items if not item.rejection] == ["ok", "crlf", "10", "last"]
    assert office.counts(batch) == {"pending": 4, "rejected": len(expected) - 4}


def test_a_custom_id_far_before_is_known_to_another_process_too(
    office: Office, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = office.upload(b"\n".join(line(f"n{number % 140}") for number in range(250)))
    jobs, bells = office.table.jobs, 0

    def slow(job_ids: Sequence[str], tenant: str) -> list[Job]:
        clock.pass_(seconds=31)
        return jobs(job_ids, tenant)

    with monkeypatch.context() as patch:
        patch.setattr(office.table, "jobs", slow)
        while office.state(batch)[0] is not UploadState.SUBMITTED:
            office.work(batch)
            bells += 1
    assert bells == 4  # a chunk each
    assert office.counts(batch) == {"pending": 140, "rejected": 110}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "The file is empty."),
        (b"\n \r\n\n", "All lines of the file are blank."),
        (b"{}\n" * (MOST_LINES + 1), "The file has more than 100,000 lines."),
        (b"{}\n" * MOST_LINES + b"{}", "The file has more than 100,000 lines."),
    ],
)
def test_a_file_that_is_refused_as_a_whole(office: Office, data: bytes, why: str) -> None:
    batch = office.upload(data)
    office.work(batch)
    state, said = office.state(batch)
    assert state is UploadState.FAILED
    assert said.startswith(why)
    assert "create a new batch" in said
    assert office.items(batch) == {}
    assert office.files.kept == {}
    office.clock.pass_(seconds=3600)
    assert list(office.kept.due(office.clock())) == []


def test_a_file_that_is_too_large_is_not_read(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = office.upload(line())
    monkeypatch.setattr(office.files, "find", lambda batch: UploadedFile(LARGEST_FILE + 1, "1"))
    office.work(batch)
    assert office.state(batch)[1].startswith("The file is larger than 209,715,200 bytes.")
    assert office.files.longest_read == 0


def test_a_file_that_never_comes_expires(office: Office, clock: HandSetClock) -> None:
    batch = office.upload(None)
    office.work(batch)
    assert office.bell.rings == []
    looks = 0
    while office.state(batch)[0] is UploadState.EXPECTED:
        clock.pass_(seconds=60)
        looks += uploads.ring_for_due(office.kept, office.bell, clock())
        office.work(batch)
    assert office.state(batch)[1].startswith("No file came in time.")
    assert 10 < looks < 20


def test_only_a_batch_that_nobody_takes_is_late(office: Office, clock: HandSetClock) -> None:
    batch = office.upload(line())
    clock.pass_(minutes=14)
    assert uploads.late(office.kept, clock()) == 0
    clock.pass_(minutes=10)
    assert uploads.late(office.kept, clock()) == 1
    office.work(batch)
    assert uploads.late(office.kept, clock()) == 0


def test_a_file_whose_sender_died_is_found(office: Office, clock: HandSetClock) -> None:
    batch = office.upload(None)
    office.files.kept[batch.id] = line("one")
    clock.pass_(seconds=120)
    assert uploads.ring_for_due(office.kept, office.bell, clock()) == 1
    office.work(batch)
    assert office.counts(batch) == {"pending": 1}


def test_a_start_is_for_a_file_that_waits(office: Office) -> None:
    batch = office.upload(None)
    office.files.kept[batch.id] = line("one")
    batch = office.batches.start(batch)
    assert office.bell.rings == [batch.id]
    office.work(batch)
    done = office.batches.of_tenant("acme", batch.id)
    assert office.batches.start(done) == done
    assert office.bell.rings == [batch.id]


def test_a_file_that_is_replaced_while_it_is_read_is_refused(office: Office, clock: HandSetClock) -> None:
    office.most_unfinished = 1
    batch = office.upload(line("one") + b"\n" + line("two"))
    office.work(batch)
    office.files.version = "2"
    clock.pass_(seconds=5)
    office.work(batch)
    assert office.state(batch)[1].startswith("The file was replaced or deleted while it was read.")
    assert office.counts(batch) == {"pending": 1}  # what was submitted stays


def test_the_tenants_limit_sets_the_pace(office: Office, clock: HandSetClock) -> None:
    office.most_unfinished = 80
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(500)))
    rounds = 0
    while office.state(batch)[0] is not UploadState.SUBMITTED:
        office.work(batch)
        assert office.table.unfinished("acme", 1000) <= 70  # an eighth is left to other requests
        office.submission().submit("acme", JobInput(crew="research", inputs={}), key=f"other {rounds}")
        office.end_jobs(batch)
        assert office.bell.delays[-1] == timedelta(seconds=5) or office.state(batch)[0] is UploadState.SUBMITTED
        clock.pass_(seconds=5)
        rounds += 1
        assert rounds < 12
    assert office.counts(batch) == {"completed": 500}


def test_a_file_that_waits_for_room_is_not_read_again(
    office: Office, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.most_unfinished = 80
    read: list[str] = []
    monkeypatch.setattr(office.files, "read", counted(read, "file", office.files.read))
    monkeypatch.setattr(office.kept, "chunks", counted(read, "chunks", office.kept.chunks))
    batch, process = office.upload(b"\n".join(line(f"n{number}") for number in range(500))), office.process()
    looks = []
    while office.state(batch)[0] is not UploadState.SUBMITTED:
        read.clear()
        office.work(batch, process)
        looks.append(sorted(read))
        office.end_jobs(batch)
        clock.pass_(seconds=5)
    assert len(looks) > 5
    assert looks[0] == ["chunks", "file", "file"]  # its lines are counted first
    assert not any(looks[1:])
    assert office.counts(batch) == {"completed": 500}


def counted(read: list[str], what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        read.append(what)
        return function(*arguments)

    return call


def test_of_two_processes_each_goes_on_where_the_other_stopped(office: Office, clock: HandSetClock) -> None:
    office.most_unfinished = 80
    batch = office.upload(b"\n".join(line(f"n{number % 450}") for number in range(500)))
    processes = [office.process(), office.process()]
    looks = 0
    while office.state(batch)[0] is not UploadState.SUBMITTED:
        office.work(batch, processes[looks // 3 % 2])
        office.end_jobs(batch)
        clock.pass_(seconds=5)
        looks += 1
        assert looks < 12
    assert office.counts(batch) == {"completed": 450, "rejected": 50}


def test_a_job_that_was_deleted_while_its_chunk_waits_for_room_stays_deleted(
    office: Office, clock: HandSetClock
) -> None:
    office.most_unfinished = 160
    batch, process = office.upload(b"\n".join(line(f"n{number}") for number in range(200))), office.process()
    office.work(batch, process)
    office.end_jobs(batch)
    last = list(office.batches.jobs(batch))[-1]
    assert last.batch_item == 139  # of the second chunk
    office.intervention().delete(last.tenant, last.id)
    clock.pass_(seconds=5)
    office.work(batch, process)
    assert office.state(batch)[0] is UploadState.SUBMITTED
    assert office.table.load(last.id) is None


def test_before_its_time_is_up_it_rings_for_the_next_invocation(office: Office, clock: HandSetClock) -> None:
    class Slow(MemoryFiles):
        def read(self, batch: Batch, offset: int, length: int) -> bytes:
            clock.pass_(seconds=20)
            return super().read(batch, offset, length)

    office.files = slow = Slow()
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(250)))
    invocations = 0
    while office.state(batch)[0] is not UploadState.SUBMITTED:
        office.work(batch)
        invocations += 1
        assert office.bell.rings == [batch.id] * (invocations + (office.state(batch)[0] is not UploadState.SUBMITTED))
    assert invocations > 1
    assert office.counts(batch) == {"pending": 250}
    assert slow.kept == {}


def test_a_store_that_does_not_answer_is_asked_again(office: Office, clock: HandSetClock) -> None:
    class Away(MemoryFiles):
        away = True

        def read(self, batch: Batch, offset: int, length: int) -> bytes:
            if self.away:
                raise Unavailable("The bucket did not answer.")
            return super().read(batch, offset, length)

    office.files = files = Away()
    batch = office.upload(line("one"))
    office.work(batch)
    assert office.bell.delays[-1] == timedelta(seconds=10)
    files.away = False
    office.work(batch)
    assert office.counts(batch) == {}  # not before it is due
    clock.pass_(seconds=10)
    office.work(batch)
    assert office.counts(batch) == {"pending": 1}


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), Unavailable("The table refused it."), IdempotencyConflict("no")]
)
def test_a_line_that_can_never_be_submitted_is_rejected_and_the_others_go_on(
    office: Office, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    create = office.table.create
    tries = 0

    def refusing(job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        nonlocal tries
        if job_input.inputs["topic"] == "poison":
            tries += 1
            raise error
        return create(job, job_input, subscriptions)

    monkeypatch.setattr(office.table, "create", refusing)
    lines = [line(f"n{number}") for number in range(130)]
    lines[7] = line("n7", topic="poison")
    batch = office.upload(b"\n".join(lines))
    begun = clock()
    while office.state(batch)[0] is not UploadState.SUBMITTED:
        office.work(batch)
        clock.pass_(seconds=10)
        assert clock() - begun < timedelta(minutes=15)
    assert clock() - begun > timedelta(minutes=4)
    assert tries == POLICY.max_attempts
    assert office.counts(batch) == {"pending": 129, "rejected": 1}
    assert office.items(batch)["n7"].startswith("line 8: ")


def test_no_line_is_rejected_for_an_outage_or_for_want_of_room(
    office: Office, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(130)))

    def away(*_: object) -> Job:
        raise Unavailable("The table did not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(office.table, "create", away)
        for _ in range(20):
            office.work(batch)
            clock.pass_(minutes=10)
    office.most_unfinished = 8
    for _ in range(20):
        office.work(batch)
        clock.pass_(minutes=10)
    office.most_unfinished = None
    office.work(batch)
    assert office.counts(batch) == {"pending": 130}


def test_a_bell_for_nothing_is_answered(office: Office) -> None:
    office.process().answer("nobody's", office.clock() + INVOCATION)
    batch = office.upload(line("one"))
    office.work(batch)
    office.work(batch)
    assert office.counts(batch) == {"pending": 1}


def test_what_is_cancelled_is_all_cancelled_and_nothing_follows(office: Office, clock: HandSetClock) -> None:
    office.most_unfinished = 200
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(500)))
    office.work(batch)
    assert office.counts(batch)["pending"] == 175
    batch = office.batches.cancel(office.batches.of_tenant("acme", batch.id), clock())
    assert office.state(batch)[0] is UploadState.CANCELLING
    clock.pass_(seconds=5)
    office.work(batch)
    assert office.state(batch)[0] is UploadState.CANCELLED
    assert office.counts(batch) == {"cancelled": 175}
    assert office.files.kept == {}
    again = office.batches.of_tenant("acme", batch.id)
    assert office.batches.cancel(again, clock()) == again


def test_one_that_has_been_submitted_is_cancelled_too(office: Office) -> None:
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(250)))
    office.work(batch)
    office.batches.cancel(office.batches.of_tenant("acme", batch.id), office.clock())
    office.work(batch)
    assert office.counts(batch) == {"cancelled": 250}


def test_whoever_submits_while_it_is_cancelled_cancels_that(office: Office) -> None:
    """The caller's write comes between the last look and the jobs."""
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(250)))

    class Meanwhile:
        def __getattr__(self, name: str) -> object:
            return getattr(office.table, name)

        def jobs(self, job_ids: list[str], tenant: str) -> object:
            standing = office.batches.of_tenant("acme", batch.id)
            if standing.upload and standing.upload.state is UploadState.SUBMITTING and standing.total == CHUNK:
                office.batches.cancel(standing, office.clock())
            return office.table.jobs(job_ids, tenant)

    office.work(batch, office.process(table=Meanwhile()))
    assert office.counts(batch) == {"pending": CHUNK, "cancelled": CHUNK}
    assert office.bell.rings[-1] == batch.id
    office.work(batch)
    assert office.counts(batch) == {"cancelled": 2 * CHUNK}
    assert office.state(batch)[0] is UploadState.CANCELLED


def test_counts_are_noted_and_no_retry_or_deletion_makes_them_wrong(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = office.upload(b"\n".join([line(f"n{number}") for number in range(250)] + [b"no JSON"]))
    office.work(batch)
    office.end_jobs(batch, Status.FAILED)
    assert office.counts(batch) == {"failed": 250, "rejected": 1}
    statuses, read = office.table.statuses, list[int]()

    def noted(job_ids: Sequence[str], tenant: str) -> dict[str, Status]:
        read.append(len(job_ids))
        return statuses(job_ids, tenant)

    monkeypatch.setattr(office.table, "statuses", noted)
    assert office.counts(batch) == {"failed": 250, "rejected": 1}
    assert read == []
    one, two, *_ = office.batches.jobs(batch)
    read.clear()
    office.intervention().retry("acme", one.id)
    office.intervention().delete("acme", two.id)
    read.clear()
    assert office.counts(batch) == {"pending": 1, "failed": 248, "rejected": 1}
    assert read == [2]
    office.end_jobs(batch)
    assert office.counts(batch) == {"completed": 1, "failed": 248, "rejected": 1}


def test_many_unfinished_jobs_are_counted_once_in_ten_seconds(office: Office, clock: HandSetClock) -> None:
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(2100)))
    office.work(batch)
    batches, reads = office.batches, 0
    statuses = office.table.statuses

    def counted(job_ids: Sequence[str], tenant: str) -> dict[str, Status]:
        nonlocal reads
        reads += 1
        return statuses(job_ids, tenant)

    def counts() -> dict[str, int]:
        found, _ = batches.counts(batches.of_tenant("acme", batch.id))
        return {status.value: number for status, number in found.items()}

    office.table.statuses = counted  # type: ignore[method-assign]
    for _ in range(10):
        assert counts() == {"pending": 2100}
    assert reads == 21
    office.end_jobs(batch)
    clock.pass_(seconds=9)
    assert counts() == {"pending": 2100}
    clock.pass_(seconds=1)
    assert counts() == {"completed": 2100}
    assert counts() == {"completed": 2100}
    assert reads == 42  # what has ended was noted


def test_a_job_that_is_deleted_early_is_not_submitted_again(office: Office, clock: HandSetClock) -> None:
    office.most_unfinished = 10
    batch = office.upload(b"\n".join(line(f"n{number}") for number in range(30)))
    office.work(batch)
    office.end_jobs(batch)
    first = next(iter(office.batches.jobs(batch)))
    office.intervention().delete("acme", first.id)
    for _ in range(3):
        clock.pass_(seconds=5)
        office.work(batch)
        office.end_jobs(batch)
    assert office.counts(batch) == {"completed": 29}


def test_results_are_in_the_order_of_the_file(office: Office) -> None:
    batch = office.upload(b"\n".join([line(f"n{number}") for number in range(150)] + [json.dumps(1).encode()]))
    office.work(batch)
    office.batches.cancel(office.batches.of_tenant("acme", batch.id), office.clock())
    office.work(batch)
    ended = [(number, item.custom_id) for number, item, _ in office.batches.ended(batch, 98)]
    assert ended == [(number, f"n{number}") for number in range(98, 150)] + [(150, "150")]


def test_counts_are_kept_for_seconds_also_if_the_clock_is_set_back(
    office: Office, clock: HandSetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewrelay.jobs.batches.batches._MANY", 2)
    batch, batches = office.upload(b"\n".join(line(f"n{number}") for number in range(4))), office.batches
    office.work(batch)
    batch = batches.of_tenant("acme", batch.id)
    assert batches.counts(batch).jobs == {Status.PENDING: 4}
    one, *_ = batches.jobs(batch)
    office.intervention().cancel("acme", one.id)
    assert batches.counts(batch).jobs == {Status.PENDING: 4}
    clock.pass_(hours=-1)
    assert batches.counts(batch).jobs == {Status.PENDING: 3, Status.CANCELLED: 1}


def test_tenants_whose_files_were_received_are_forgotten(office: Office) -> None:
    batches = office.batches
    for number in range(3):
        with batches.receiving(f"tenant-{number}", None):
            pass
    assert not batches._received
