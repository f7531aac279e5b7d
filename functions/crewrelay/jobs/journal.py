"""What a run has paid for: every call of a model or tool and every retrieval, with its reply.

A call is known by the hash of its request and by its number among identical ones, so a run that is resumed finds the
replies of the run before it, in whatever order they were made.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from crewrelay.jobs.answer import ModelUsage, Usage
from crewrelay.jobs.money import Usd, total

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Kind(StrEnum):
    MODEL = "model"
    TOOL = "tool"
    RETRIEVAL = "retrieval"


class Reply(BaseModel):
    """What came back: `body` is JSON text, the rest is what it cost. `cost_usd` is None if that is unknown."""

    model_config = ConfigDict(frozen=True)

    body: str
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Usd | None = None


class Call(BaseModel):
    """An entry of the journal. `fence` is that of the claim under which it was paid, `at` when its reply came."""

    model_config = ConfigDict(frozen=True)

    digest: str
    nth: int
    kind: Kind
    seconds: float
    fence: int | None = None
    at: datetime | None = None
    reply: Reply

    @property
    def key(self) -> str:
        return f"{self.digest}#{self.nth}"

    def without_body(self) -> "Call":
        return self.model_copy(update={"reply": self.reply.model_copy(update={"body": ""})})


class Receipt(BaseModel):
    """What a job's models have cost so far. `calls_replayed` were answered by the journal and not paid again."""

    model_config = ConfigDict(frozen=True)

    calls_paid: int = 0
    calls_replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    # Rows of jobs that paid before costs were counted have none.
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
        """What was paid by the journal's own account: a run may have died before it wrote its receipt."""
        receipt = Receipt(calls_replayed=self.calls_replayed)
        for call in calls:
            receipt = receipt.with_paid(call)
        return receipt


def digest_of(fingerprint: str, kind: Kind, request: dict[str, Any]) -> str:
    """SHA-256 of the canonical request of one version of a crew: a changed crew finds none of the old replies."""
    canonical = json.dumps([fingerprint, kind.value, request], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def usage_of(calls: Iterable[Call]) -> Usage:
    """What the calls asked of their models, whether paid now or replayed."""
    asked = [call.reply for call in calls if call.kind is Kind.MODEL]
    models = list(dict.fromkeys(reply.model for reply in asked))
    by_model = tuple(_usage_of(model, [reply for reply in asked if reply.model == model]) for model in models)
    return Usage(**dict(_usage_of(models[0] if models else "none", asked)), by_model=by_model)


def _usage_of(model: str, replies: Sequence[Reply]) -> ModelUsage:
    return ModelUsage(
        model=model,
        calls=len(replies),
        prompt_tokens=sum(reply.prompt_tokens for reply in replies),
        completion_tokens=sum(reply.completion_tokens for reply in replies),
        cost_usd=total(reply.cost_usd for reply in replies),
    )


def in_order(calls: Iterable[Call]) -> list[Call]:
    """As their replies came; those of which that isn't known first."""
    return sorted(calls, key=lambda call: (call.at or _LONG_AGO, call.key))
