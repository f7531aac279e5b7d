"""The journal: every model call, tool call and retrieval that a job has paid for, with its reply, and the answers of
humans.

A call's key is the hash of its request plus its number among identical requests, so a resumed run finds the earlier
replies in whatever order they were made.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from crewrelay.jobs.money import Usd, total
from crewrelay.jobs.records.answer import ModelUsage, Usage

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Kind(StrEnum):
    MODEL = "model"
    TOOL = "tool"
    RETRIEVAL = "retrieval"
    HUMAN = "human"


class Reply(BaseModel):
    """A reply: `body` is JSON text, the rest is what it cost. `cost_usd` is None if unknown."""

    model_config = ConfigDict(frozen=True)

    body: str
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Usd | None = None


class Call(BaseModel):
    """A journal entry. `fence` is that of the claim which paid, `at` the time of the reply, `fingerprint` the crew's,
    `within` the digest of the tool's call that made this one.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    nth: int
    kind: Kind
    seconds: float
    fence: int | None = None
    at: datetime | None = None
    fingerprint: str | None = None
    within: str | None = None
    reply: Reply

    @property
    def key(self) -> str:
        return f"{self.digest}#{self.nth}"

    def without_body(self) -> "Call":
        return self.model_copy(update={"reply": self.reply.model_copy(update={"body": ""})})


class Receipt(BaseModel):
    """What a job's model calls have cost so far. `calls_replayed` were answered from the journal and not paid again.
    `diverged` is how many calls of any kind were made in vain: the run that completed the job asked others instead.
    """

    model_config = ConfigDict(frozen=True)

    calls_paid: int = 0
    calls_replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    diverged: int = 0
    # None in rows that paid calls before costs were recorded.
    cost_usd: Usd | None = Field(default_factory=lambda known: None if known["calls_paid"] else Decimal())

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def with_paid(self, call: Call) -> "Receipt":
        if call.kind is not Kind.MODEL:
            return self
        return self.model_copy(
            update={
                "calls_paid": self.calls_paid + 1,
                "prompt_tokens": self.prompt_tokens + call.reply.prompt_tokens,
                "completion_tokens": self.completion_tokens + call.reply.completion_tokens,
                "cost_usd": total((self.cost_usd, call.reply.cost_usd)),
            }
        )

    def with_replayed(self, call: Call) -> "Receipt":
        if call.kind is not Kind.MODEL:
            return self
        return self.model_copy(update={"calls_replayed": self.calls_replayed + 1})

    def recounted(self, calls: Iterable[Call]) -> "Receipt":
        """The receipt computed from the journal: a run may have died before it stored its receipt."""
        receipt = Receipt(calls_replayed=self.calls_replayed)
        for call in calls:
            receipt = receipt.with_paid(call)
        return receipt


def in_vain(journal: Iterable[Call], used: Iterable[Call], fingerprint: str | None) -> list[Call]:
    """The journaled calls of this crew that a run, now at its end, did not ask for.

    What a tool had asked for is not among them if the tool's own result was replayed.
    """
    journal, used = list(journal), list(used)
    keys = {call.key for call in (*used, *made_within(journal, used))}
    return [call for call in journal if call.key not in keys and call.fingerprint == fingerprint]


def made_within(journal: Iterable[Call], used: Iterable[Call]) -> list[Call]:
    """The journaled calls that were made within those that a run has replayed, and that it did not ask for itself."""
    journal, keys = list(journal), {call.key for call in used}
    replayed = {call.digest for call in journal if call.key in keys}
    left, found = [call for call in journal if call.key not in keys], list[Call]()
    while inner := [call for call in left if call.within in replayed]:
        left = [call for call in left if call.within not in replayed]
        replayed |= {call.digest for call in inner}
        found += inner
    return found


def digest_of(fingerprint: str, kind: Kind, request: dict[str, Any]) -> str:
    """SHA-256 of the crew's fingerprint and the canonical request: a changed crew finds no old replies."""
    canonical = json.dumps([fingerprint, kind.value, request], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def usage_of(calls: Iterable[Call]) -> Usage:
    """The model usage of these calls, paid or replayed."""
    asked = [call.reply for call in calls if call.kind is Kind.MODEL]
    models = list(dict.fromkeys(reply.model for reply in asked))
    by_model = tuple(
        ModelUsage(model=model, **_spent([reply for reply in asked if reply.model == model])) for model in models
    )
    return Usage(model=next(iter(models), None), **_spent(asked), by_model=by_model)


def _spent(replies: Sequence[Reply]) -> dict[str, Any]:
    return {
        "calls": len(replies),
        "prompt_tokens": sum(reply.prompt_tokens for reply in replies),
        "completion_tokens": sum(reply.completion_tokens for reply in replies),
        "cost_usd": total(reply.cost_usd for reply in replies),
    }


def in_order(calls: Iterable[Call]) -> list[Call]:
    """By the time of their replies; entries without one first."""
    return sorted(calls, key=lambda call: (call.at or _LONG_AGO, call.key))
