"""What a run has paid for: every call of a model or tool and every retrieval, with its reply.

A call is known by the hash of its request and by its number among identical ones, so a run that is resumed finds the
replies of the run before it, in whatever order they were made.
"""

import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from crewrelay.jobs.answer import Usage


class Kind(StrEnum):
    MODEL = "model"
    TOOL = "tool"
    RETRIEVAL = "retrieval"


class Reply(BaseModel):
    """What came back: `body` is JSON text, the rest is what it cost."""

    model_config = ConfigDict(frozen=True)

    body: str
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Call(BaseModel):
    """An entry of the journal."""

    model_config = ConfigDict(frozen=True)

    digest: str
    nth: int
    kind: Kind
    seconds: float
    reply: Reply

    @property
    def key(self) -> str:
        return f"{self.digest}#{self.nth}"


class Receipt(BaseModel):
    """What a job's models have cost so far. `calls_replayed` were answered by the journal and not paid again."""

    model_config = ConfigDict(frozen=True)

    calls_paid: int = 0
    calls_replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

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
    return Usage(
        model=asked[0].model if asked else "none",
        calls=len(asked),
        prompt_tokens=sum(reply.prompt_tokens for reply in asked),
        completion_tokens=sum(reply.completion_tokens for reply in asked),
    )
