"""The token store: pk=TOKEN#<SHA-256>, sk=TOKEN; and pk=TOKENS, sk=<tenant>#<SHA-256> to list them by.

Times are epoch seconds. The listing row is put first, because one without its token is harmless.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crewrelay.aws import rows
from crewrelay.aws.batch_get import batch_get
from crewrelay.aws.clients import unavailable_if_it_fails
from crewrelay.jobs.access import Token
from crewrelay.jobs.errors import UnknownToken
from crewrelay.jobs.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LISTING = "TOKENS"


class DynamoTokens:
    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def add(self, token: Token) -> None:
        expires_at = int(token.expires_at.timestamp())
        values = {
            "owner": token.tenant,
            "scopes": " ".join(sorted(token.scopes)),
            "collections": " ".join(token.collections),
            "issued_at": int(token.created_at.timestamp()),
            "expires_at": expires_at,
        }
        listing = {"pk": _LISTING, "sk": f"{token.tenant}#{token.digest}", "expires_at": expires_at}
        with unavailable_if_it_fails("table"):
            self._client.put_item(TableName=self._table, Item=rows.typed(listing))
            self._client.put_item(TableName=self._table, Item=key(token.digest) | rows.typed(values))

    def find(self, digest: str) -> Token | None:
        with unavailable_if_it_fails("table"):
            item = self._client.get_item(TableName=self._table, Key=key(digest), ConsistentRead=True).get("Item")
        return _token_of(item) if item and not rows.expired(item, self._clock()) else None

    def of(self, tenant: str | None = None) -> list[Token]:
        digests = self._listed(f"{tenant}#" if tenant else "")
        items = batch_get(self._client, self._table, [key(digest) for digest in digests])
        tokens = [_token_of(item) for item in items if not rows.expired(item, self._clock())]
        return sorted(tokens, key=lambda token: (token.created_at, token.digest))

    def revoke(self, token_id: str, now: datetime) -> Token:
        token = next((token for token in self.of() if token.id == token_id), None)
        if token is None:
            raise UnknownToken(f"There is no token {token_id}.")
        if token.revoked_at:
            return token
        with unavailable_if_it_fails("table"):
            self._client.update_item(
                TableName=self._table,
                Key=key(token.digest),
                UpdateExpression="SET revoked_at = if_not_exists(revoked_at, :now)",
                ConditionExpression="attribute_exists(pk)",  # TTL may have deleted it meanwhile
                ExpressionAttributeValues=rows.typed({":now": int(now.timestamp())}),
            )
        return token.model_copy(update={"revoked_at": now})

    def _listed(self, prefix: str) -> list[str]:
        condition, values = "pk = :pk", {":pk": _LISTING}
        if prefix:
            condition, values = f"{condition} AND begins_with(sk, :prefix)", values | {":prefix": prefix}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=rows.typed(values),
            ConsistentRead=True,
        )
        with unavailable_if_it_fails("table"):
            return [item["sk"]["S"].rpartition("#")[2] for page in pages for item in page["Items"]]


def key(digest: str) -> rows.Item:
    return rows.typed({"pk": f"TOKEN#{digest}", "sk": "TOKEN"})


def _token_of(item: rows.Item) -> Token:
    values: dict[str, Any] = rows.plain(item)
    revoked_at = values.get("revoked_at")
    return Token(
        digest=values["pk"].removeprefix("TOKEN#"),
        tenant=values["owner"],
        scopes=frozenset(values["scopes"].split()),
        collections=tuple(values.get("collections", "").split()),  # none in rows of earlier versions
        created_at=_time(values["issued_at"]),
        expires_at=_time(values["expires_at"]),
        revoked_at=None if revoked_at is None else _time(revoked_at),
    )


def _time(seconds: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
