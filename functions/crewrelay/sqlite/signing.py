"""The store of signing secrets."""

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.webhooks.signing import SigningSecret
from crewrelay.sqlite.database import Database


class SqliteSigningSecrets:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, tenant: str) -> SigningSecret | None:
        with self._database.reading() as connection:
            row = connection.execute("SELECT body FROM signing_secrets WHERE tenant = ?", (tenant,)).fetchone()
        return None if row is None else SigningSecret.model_validate_json(row["body"])

    def save(self, before: SigningSecret | None, after: SigningSecret) -> None:
        with self._database.writing() as connection:
            if before is None:
                done = connection.execute(
                    "INSERT INTO signing_secrets VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (after.tenant, after.revision, after.model_dump_json()),
                )
            else:
                done = connection.execute(
                    "UPDATE signing_secrets SET revision = ?, body = ? WHERE tenant = ? AND revision = ?",
                    (after.revision, after.model_dump_json(), after.tenant, before.revision),
                )
            if done.rowcount == 0:
                raise StaleWrite(f"the signing secret of {after.tenant} was changed by another writer")
