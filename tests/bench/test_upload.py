"""`make bench`: how many lines of a file one process makes jobs of in a second, on SQLite (BENCH_LINES of them)."""

import os
import resource
import time
from datetime import timedelta
from pathlib import Path

from crewrelay.catalogue.drafts import read_line
from crewrelay.jobs.access import Caller
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.batches.uploads import Uploads
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.records.batch import UploadState
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.submission import Submission
from crewrelay.sqlite.batches import SqliteBatches
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.doorbell import SqliteDoorbell
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.uploads import UPLOADS, DueUploads, FolderUploads
from crewrelay.system import new_id, utcnow
from tests.support.fixtures import Figure
from tests.support.uploads import line

LINES = int(os.environ.get("BENCH_LINES", "5000"))


def test_lines_a_second(tmp_path: Path, figure: Figure) -> None:
    database, policy = Database(tmp_path / "jobs.db"), Policy()
    store, doorbell = SqliteJobStore(database, utcnow), SqliteDoorbell(database, utcnow)
    kept, files = SqliteBatches(database, utcnow), FolderUploads(tmp_path / UPLOADS)
    due = DueUploads(kept, utcnow)
    submission = Submission(store, doorbell, utcnow, new_id, policy)
    intervention = Intervention(store, doorbell, utcnow, policy, batches=kept)
    batches = Batches(store, kept, files, submission, intervention, due, utcnow, new_id, policy, due)
    pause = timedelta(seconds=1)
    uploads = Uploads(store, kept, files, submission, intervention, due, utcnow, policy, read_line, pause)
    batch = batches.of_file(Caller(tenant="acme", scopes=frozenset()), "digest", None, there=True)
    incoming = files.receive()
    for number in range(LINES):
        incoming.write(line(f"n{number}") + b"\n")
    incoming.keep(batch)
    batches.commit(batch)
    uploads.answer(batch.id, utcnow())  # imports what reading takes
    resident, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    uploads.answer(batch.id, utcnow() + timedelta(hours=1))
    submitted = time.monotonic() - started
    batch = batches.of_tenant("acme", batch.id)
    assert batch.upload
    assert batch.upload.state is UploadState.SUBMITTED
    counts, _ = batches.counting.counts(batch)
    counted = time.monotonic() - started - submitted
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024
    figure(
        f"{LINES:,} lines: {LINES / submitted:,.0f} jobs a second; counted in {counted:.1f} s;"
        f" the process grew by {grown:.0f} MB"
    )
    assert counts.total() == LINES
    assert grown < 40
