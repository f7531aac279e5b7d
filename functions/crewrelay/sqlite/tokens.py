"""The token store."""

import sqlite3
from datetime import datetime

from crewrelay.jobs.access import Scope, Token
from crewrelay.jobs.errors import UnknownToken
from crewrelay.jobs.ports import Clock
from crewrelay.sqlite.database import Database
from crewrelay.sqlite.times import microseconds, moment


class SqliteTokens:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, token: Token) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    token.digest,
                    token.tenant,
                    " ".join(sorted(token.scopes)),
                    microseconds(token.created_at),
                    microseconds(token.expires_at),
                    token.revoked_at and microseconds(token.revoked_at),
                    " ".join(token.collections),
                ),
            )

    def find(self, digest: str) -> Token | None:
        return next(iter(self._where("digest = ?", digest)), None)

    def of(self, tenant: str | None = None) -> list[Token]:
        return self._where("tenant = ?" if tenant else "? IS NULL", tenant)

    def revoke(self, token_id: str, now: datetime) -> Token:
        token = next((token for token in self.of() if token.id == token_id), None)
        if token is None:
            raise UnknownToken(f"There is no token {token_id}.")
        if token.revoked_at:
            return token
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE digest = ?",
                (microseconds(now), token.digest),
            )
        return token.model_copy(update={"revoked_at": now})

    def _where(self, condition: str, value: str | None) -> list[Token]:
        """The unexpired ones, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT * FROM tokens WHERE {condition} AND expires_at > ? ORDER BY created_at, digest",
                (value, microseconds(self._clock())),
            ).fetchall()
        return [_token_of(row) for row in rows]


def _token_of(row: sqlite3.Row) -> Token:
    return Token(
        digest=row["digest"],
        tenant=row["tenant"],
        scopes=frozenset(map(Scope, row["scopes"].split())),
        collections=tuple(row["collections"].split()),
        created_at=moment(row["created_at"]),
        expires_at=moment(row["expires_at"]),
        revoked_at=None if row["revoked_at"] is None else moment(row["revoked_at"]),
    )
