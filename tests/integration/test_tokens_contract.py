"""What keeps tokens promises; held by DynamoDB's table (on an emulator) and by the tests' own."""

import itertools
from datetime import timedelta

import pytest

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.jobs.access import Scope, Token, Tokens, issue
from crewrelay.jobs.errors import Unavailable, UnknownToken
from crewrelay.sqlite.tokens import SqliteTokens
from crewrelay.testing import MemoryTokens
from tests.support.fixtures import HandSetClock, Storage
from tests.support.http_apps import unreachable

_numbers = itertools.count(1)


@pytest.fixture(params=["memory", "sqlite", "dynamo"])
def tokens(request: pytest.FixtureRequest, clock: HandSetClock) -> Tokens:
    if request.param == "memory":
        return MemoryTokens(clock)
    if request.param == "sqlite":
        return SqliteTokens(request.getfixturevalue("database"), clock)
    storage: Storage = request.getfixturevalue("storage")
    return DynamoTokens(storage.dynamodb, storage.table, clock)


def issued(tokens: Tokens, clock: HandSetClock, tenant: str = "acme", days: int = 1) -> tuple[str, Token]:
    scopes = frozenset({Scope.RUN, Scope.ADMIN})
    end = clock() + timedelta(days=days)
    return issue(
        tokens, tenant, scopes, clock(), end, lambda length: next(_numbers).to_bytes(length, "big"), ("zoo", "acme")
    )


def test_a_token_comes_back_as_it_was_made(tokens: Tokens, clock: HandSetClock) -> None:
    _, token = issued(tokens, clock)
    assert tokens.find(token.digest) == token
    assert token.collections == ("zoo", "acme")  # their order counts
    assert tokens.find("0" * 64) is None


def test_an_expired_token_is_gone_from_that_moment(tokens: Tokens, clock: HandSetClock) -> None:
    _, token = issued(tokens, clock)
    clock.now = token.expires_at
    assert tokens.find(token.digest) is None
    assert tokens.of() == []
    with pytest.raises(UnknownToken):
        tokens.revoke(token.id, clock())


def test_tokens_are_listed_by_tenant_or_all_the_oldest_first(tokens: Tokens, clock: HandSetClock) -> None:
    made = []
    for tenant in ("acme", "acme-2", "zoo", "acme"):
        made.append(issued(tokens, clock, tenant)[1])
        clock.pass_(seconds=1)
    assert tokens.of() == made
    assert tokens.of("acme") == [made[0], made[3]]
    assert tokens.of("nobody") == []


def test_more_tokens_than_fit_one_request_are_listed(tokens: Tokens, clock: HandSetClock) -> None:
    made = [issued(tokens, clock)[1] for _ in range(103)]
    assert {token.digest for token in tokens.of("acme")} == {token.digest for token in made}


def test_a_revoked_token_is_kept_as_such_until_it_expires(tokens: Tokens, clock: HandSetClock) -> None:
    _, other = issued(tokens, clock)
    _, token = issued(tokens, clock)
    clock.pass_(minutes=1)
    revoked = token.model_copy(update={"revoked_at": clock()})
    assert tokens.revoke(token.id, clock()) == revoked
    clock.pass_(minutes=1)
    assert tokens.revoke(token.id, clock()) == tokens.find(token.digest) == revoked
    assert tokens.find(other.digest) == other
    with pytest.raises(UnknownToken, match="no token nobody"):
        tokens.revoke("nobody", clock())


def test_the_table_holds_no_part_of_a_tokens_text(storage: Storage, clock: HandSetClock) -> None:
    text, token = issued(DynamoTokens(storage.dynamodb, storage.table, clock), clock)
    held = repr(storage.rows())
    assert token.digest in held
    assert text.removeprefix("crt_") not in held
    assert text.removeprefix("crt_")[:64] not in held


def test_every_row_of_a_token_ends_with_it(storage: Storage, clock: HandSetClock) -> None:
    _, token = issued(DynamoTokens(storage.dynamodb, storage.table, clock), clock)
    assert [row["expires_at"]["N"] for row in storage.rows()] == [str(int(token.expires_at.timestamp()))] * 2


def test_a_table_that_does_not_answer_is_unavailable(clock: HandSetClock) -> None:
    with unreachable("dynamodb") as dynamodb:
        tokens = DynamoTokens(dynamodb, "jobs", clock)
        for ask in (lambda: tokens.find("0" * 64), tokens.of, lambda: issued(tokens, clock)):
            with pytest.raises(Unavailable):
                ask()
