"""The tables, and how a file of an earlier version becomes one of this version.

jobs: the row that every decision rests on, as JSON, with the columns that are searched.
inputs, answers, questions, calls, events, files, subscriptions: bodies, which live as long as their job.
bells: the queue of jobs to look at, one row for each; notices: the same for the notifier. tokens: by SHA-256.
batches: their items, not their jobs; those of an uploaded file are in chunks, and how they have ended in outcomes.
signing_secrets: one for each tenant.

Times are epoch microseconds, those of the wall clock.
"""

import sqlite3

from crewrelay.jobs.errors import Misconfigured

_APPLICATION = (
    0x63726C79  # "crly": tells our files from others, https://www.sqlite.org/pragma.html#pragma_application_id
)

# Each brings the file from the version of its index to the next one. Released ones never change.
MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, status TEXT NOT NULL, revision INTEGER NOT NULL,
        fence INTEGER NOT NULL, due_at INTEGER, unfinished TEXT, expires_at INTEGER NOT NULL, job TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX jobs_due ON jobs (status, due_at, id) WHERE due_at IS NOT NULL;
    CREATE INDEX jobs_unfinished ON jobs (unfinished) WHERE unfinished IS NOT NULL;
    CREATE INDEX jobs_expiry ON jobs (expires_at);
    CREATE TABLE inputs (job_id TEXT PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE answers (job_id TEXT, fence INTEGER, body TEXT NOT NULL, PRIMARY KEY (job_id, fence));
    CREATE TABLE calls (
        job_id TEXT, digest TEXT, nth INTEGER, entry TEXT NOT NULL, body TEXT NOT NULL, expires_at INTEGER NOT NULL,
        PRIMARY KEY (job_id, digest, nth)
    );
    CREATE TABLE bells (
        job_id TEXT PRIMARY KEY, visible_at INTEGER NOT NULL, receipt TEXT
    ) WITHOUT ROWID;
    CREATE INDEX bells_visible ON bells (visible_at);
    CREATE TABLE tokens (
        digest TEXT PRIMARY KEY, tenant TEXT NOT NULL, scopes TEXT NOT NULL, created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL, revoked_at INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX tokens_expiry ON tokens (expires_at);
    """,
    """
    CREATE TABLE questions (job_id TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (job_id, id));
    CREATE TABLE events (job_id TEXT, first INTEGER, entries TEXT NOT NULL, PRIMARY KEY (job_id, first));
    CREATE TABLE files (job_id TEXT, digest TEXT, content BLOB NOT NULL, PRIMARY KEY (job_id, digest));
    """,
    "ALTER TABLE tokens ADD COLUMN collections TEXT NOT NULL DEFAULT ''",
    # Lists of jobs. Those of before were kept for 30 days. The index has what a list may be filtered by.
    """
    ALTER TABLE jobs ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN crew TEXT NOT NULL DEFAULT '';
    UPDATE jobs SET created_at = expires_at - 2592000000000,
        crew = CASE WHEN json_valid(job) THEN coalesce(json_extract(job, '$.crew'), '') ELSE '' END;
    CREATE INDEX jobs_listed ON jobs (tenant, created_at, id, status, crew);
    CREATE TABLE batches (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, expires_at INTEGER NOT NULL, body TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX batches_expiry ON batches (expires_at);
    """,
    # Files of batches: how far each was read, its items, and how they have ended.
    """
    ALTER TABLE batches ADD COLUMN due_at INTEGER;
    ALTER TABLE batches ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX batches_due ON batches (due_at) WHERE due_at IS NOT NULL;
    CREATE TABLE chunks (
        batch_id TEXT, number INTEGER, items TEXT NOT NULL, PRIMARY KEY (batch_id, number)
    ) WITHOUT ROWID;
    CREATE TABLE outcomes (
        batch_id TEXT, number INTEGER, letters TEXT NOT NULL, reopened TEXT NOT NULL, PRIMARY KEY (batch_id, number)
    ) WITHOUT ROWID;
    """,
    # Webhooks.
    """
    CREATE TABLE subscriptions (
        job_id TEXT, number INTEGER, revision INTEGER NOT NULL, due_at INTEGER, body TEXT NOT NULL,
        PRIMARY KEY (job_id, number)
    ) WITHOUT ROWID;
    CREATE INDEX subscriptions_due ON subscriptions (due_at, job_id, number) WHERE due_at IS NOT NULL;
    CREATE TABLE notices (
        job_id TEXT PRIMARY KEY, visible_at INTEGER NOT NULL, receipt TEXT
    ) WITHOUT ROWID;
    CREATE INDEX notices_visible ON notices (visible_at);
    CREATE TABLE signing_secrets (
        tenant TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Create the tables, or bring them to this version. Raises Misconfigured if the file is not ours or is newer."""
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")  # another process may be doing the same
    version = _version(connection)
    for migration in MIGRATIONS[version:]:
        for statement in migration.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION:
        raise Misconfigured("It is the file of another program: name another folder with --data")
    if version > len(MIGRATIONS):
        raise Misconfigured(f"It was written by a newer crewrelay (format {version}, not {len(MIGRATIONS)}): upgrade")
    return int(version)
