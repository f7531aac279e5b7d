"""Tokens: what they look like, what is kept of them, whom they let in."""

import hashlib
import re
from datetime import timedelta

import pytest
from pydantic import ValidationError

from crewrelay.jobs.access import Caller, Scope, Token, bearer, digest_of, issue, new_text
from crewrelay.jobs.errors import ForeignCollection, MissingScope
from crewrelay.jobs.records.job import JobInput
from crewrelay.testing import MemoryTokens
from tests.support.fixtures import HandSetClock

EVERY = frozenset(Scope)


def ones(length: int) -> bytes:
    return b"\x01" * length


def issued(tokens: MemoryTokens, clock: HandSetClock, **changed: object) -> tuple[str, Token]:
    text, token = issue(tokens, "acme", EVERY, clock(), clock() + timedelta(days=1), ones)
    if changed:
        tokens.kept[token.digest] = token.model_copy(update=changed)
    return text, token


@pytest.fixture
def tokens(clock: HandSetClock) -> MemoryTokens:
    return MemoryTokens(clock)


def test_a_token_is_told_by_its_prefix_and_kept_as_a_digest_of_all_of_it(
    tokens: MemoryTokens, clock: HandSetClock
) -> None:
    text, token = issued(tokens, clock)
    assert re.fullmatch(r"crt_[0-9a-f]{72}", text)
    assert token.digest == hashlib.sha256(text.encode()).hexdigest() == digest_of(text)
    assert text not in repr(tokens.kept)
    assert text.removeprefix("crt_")[:64] not in repr(tokens.kept)


def test_a_token_is_spoken_of_by_the_first_digits_of_its_digest(tokens: MemoryTokens, clock: HandSetClock) -> None:
    _, token = issued(tokens, clock)
    assert token.id == token.digest[:12]


def test_scopes_are_called_as_callers_know_them() -> None:
    assert list(Scope) == ["run", "read", "admin", "webhooks"]


def test_a_token_has_256_bits_of_what_is_random() -> None:
    asked: list[int] = []

    def random(length: int) -> bytes:
        asked.append(length)
        return ones(length)

    new_text(random)
    assert asked == [32]


@pytest.mark.parametrize(
    "garbled",
    [
        "",
        "crt_",
        "crt_" + "0" * 72,
        new_text(ones)[:-1],
        new_text(ones) + "0",
        new_text(ones).upper(),
        new_text(ones).replace("01", "02", 1),
        new_text(ones) + "\n",
        " " + new_text(ones),
        "x" * 100_000,
    ],
)
def test_what_only_looks_like_a_token_is_known_without_the_table(garbled: str) -> None:
    assert digest_of(garbled) is None


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER  {} "])
def test_the_bearer_of_a_valid_token_is_known(tokens: MemoryTokens, clock: HandSetClock, header: str) -> None:
    text, token = issued(tokens, clock)
    assert bearer(tokens, header.format(text), clock()) == token


@pytest.mark.parametrize(
    "header", ["", "{}", "Bearer", "Basic {}", "Bearer{}", "Bearer {0} {0}", "Bearer {0}, Bearer {0}"]
)
def test_any_other_header_bears_none_and_nothing_is_looked_up(
    tokens: MemoryTokens, clock: HandSetClock, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _ = issued(tokens, clock)
    monkeypatch.setattr(tokens, "find", None)
    assert bearer(tokens, header.format(text), clock()) is None


def test_an_unknown_an_expired_and_a_revoked_token_let_nobody_in(tokens: MemoryTokens, clock: HandSetClock) -> None:
    assert bearer(tokens, f"Bearer {new_text(ones)}", clock()) is None
    text, token = issued(tokens, clock)
    clock.now = token.expires_at - timedelta(seconds=1)
    assert bearer(tokens, f"Bearer {text}", clock()) == token
    clock.now = token.expires_at
    assert bearer(tokens, f"Bearer {text}", clock()) is None
    text, _ = issued(tokens, clock, revoked_at=clock(), expires_at=clock() + timedelta(days=1))
    assert bearer(tokens, f"Bearer {text}", clock()) is None


def test_a_table_that_is_late_to_delete_an_expired_token_makes_no_difference(
    tokens: MemoryTokens, clock: HandSetClock
) -> None:
    _, token = issued(tokens, clock)
    assert token.valid(token.expires_at - timedelta(seconds=1))
    assert not token.valid(token.expires_at)


def test_a_scope_grants_itself_and_none_of_the_others() -> None:
    for scope in Scope:
        caller = Caller(tenant="acme", scopes=frozenset({scope}))
        caller.require(scope)
        for other in EVERY - {scope}:
            with pytest.raises(MissingScope, match=f"the scope {other}"):
                caller.require(other)


def test_a_job_searches_what_the_token_names_first_unless_it_names_another_of_these() -> None:
    def searched(asked: str | None, *collections: str) -> str | None:
        caller = Caller(tenant="acme", scopes=EVERY, collections=collections)
        return caller.permitted(JobInput(crew="research", inputs={}, collection=asked)).collection

    assert searched(None) is None  # the deployment's
    assert searched(None, "a", "b") == "a"
    assert searched("b", "a", "b") == "b"
    with pytest.raises(ForeignCollection, match="collection c, only a, b"):
        searched("c", "a", "b")
    with pytest.raises(ForeignCollection, match="only the deployment's own"):
        searched("a")


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "a" * 64, "a\n"])
def test_a_collection_that_no_store_has_can_not_be_named(name: str) -> None:
    with pytest.raises(ValidationError):
        Caller(tenant="acme", scopes=EVERY, collections=(name,))


@pytest.mark.parametrize("name", ["", "A", "a b", "a#b", "a\n", "a\nb", "-a", ".", "ä", "a" * 64])
def test_a_tenants_name_can_not_reach_into_the_keys_of_another(name: str) -> None:
    with pytest.raises(ValidationError):
        Caller(tenant=name, scopes=EVERY)
    with pytest.raises(ValidationError):
        Token(digest="d", tenant=name, scopes=EVERY, created_at=HandSetClock()(), expires_at=HandSetClock()())


def test_a_token_that_may_do_nothing_is_none(tokens: MemoryTokens, clock: HandSetClock) -> None:
    with pytest.raises(ValidationError):
        issue(tokens, "acme", frozenset(), clock(), clock() + timedelta(days=1), ones)
    assert tokens.kept == {}
