"""The engine of one machine: the folder `data`."""

from functools import cache
from pathlib import Path

from crewrelay.settings import JobSettings, StoreSettings, UploadSettings
from crewrelay.sqlite.batches import SqliteBatches
from crewrelay.sqlite.changes import Changes
from crewrelay.sqlite.database import FILE, Database
from crewrelay.sqlite.doorbell import NOTICES, SqliteDoorbell
from crewrelay.sqlite.intake import IntakeFolder
from crewrelay.sqlite.rejected import INTAKE, RejectedLines
from crewrelay.sqlite.signing import SqliteSigningSecrets
from crewrelay.sqlite.store import SqliteJobStore
from crewrelay.sqlite.subscriptions import SqliteSubscriptions
from crewrelay.sqlite.tokens import SqliteTokens
from crewrelay.sqlite.uploads import UPLOADS, DueUploads, FolderUploads
from crewrelay.system import utcnow


@cache
def database(folder: Path) -> Database:
    """One for each process. Raises Misconfigured."""
    return Database(folder / FILE)


def recover(database: Database) -> int:
    """Whoever was at work is gone: ring for what they held. Returns the number of unfinished jobs."""
    SqliteDoorbell(database, utcnow).recover()
    SqliteDoorbell(database, utcnow, NOTICES).recover()
    return SqliteJobStore(database, utcnow).count_unfinished()


def job_store(settings: JobSettings) -> SqliteJobStore:
    return SqliteJobStore(database(_folder(settings)), utcnow)


def doorbell(settings: JobSettings) -> SqliteDoorbell:
    return SqliteDoorbell(database(_folder(settings)), utcnow)


def intake_queue(settings: JobSettings, queue_url: str) -> IntakeFolder:
    return IntakeFolder(_folder(settings) / INTAKE)


def wake(settings: StoreSettings) -> None:
    database(_folder(settings)).changes.notify()


def changes(settings: StoreSettings) -> Changes:
    return database(_folder(settings)).changes


def batches(settings: StoreSettings) -> SqliteBatches:
    return SqliteBatches(database(_folder(settings)), utcnow)


def uploads(settings: JobSettings) -> FolderUploads:
    return FolderUploads(_folder(settings) / UPLOADS)


def upload_bells(settings: UploadSettings) -> DueUploads:
    return due_uploads(settings)


def due_uploads(settings: JobSettings) -> DueUploads:
    return DueUploads(batches(settings), utcnow)


def dead_letters(settings: JobSettings, queue_url: str) -> RejectedLines:
    return RejectedLines(_folder(settings) / INTAKE)


def notifier_bell(settings: JobSettings) -> SqliteDoorbell:
    return SqliteDoorbell(database(_folder(settings)), utcnow, NOTICES)


def subscriptions(settings: StoreSettings) -> SqliteSubscriptions:
    return SqliteSubscriptions(database(_folder(settings)))


def signing_secrets(settings: StoreSettings) -> SqliteSigningSecrets:
    return SqliteSigningSecrets(database(_folder(settings)))


def tokens(settings: StoreSettings) -> SqliteTokens:
    return SqliteTokens(database(_folder(settings)), utcnow)


def _folder(settings: StoreSettings) -> Path:
    assert settings.data is not None
    return settings.data
