"""Webhooks of jobs and batches, and the secrets that sign them."""

from collections.abc import Iterator
from datetime import datetime

from crewrelay.jobs.errors import StaleWrite
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.webhooks.signing import SigningSecret
from crewrelay.testing.job_store import MemoryJobStore


class MemorySubscriptions:
    """Those of the jobs in a store."""

    def __init__(self, store: MemoryJobStore) -> None:
        self._store = store

    def of(self, job_id: str) -> list[Subscription]:
        kept = sorted((key, one) for key, one in self._store.subscriptions.items() if key[0] == job_id)
        return [Subscription.model_validate_json(one) for _, one in kept]

    def put(self, subscription: Subscription) -> None:
        written = subscription.model_dump_json()
        if self._store.subscriptions.setdefault(_key(subscription), written) != written:
            raise StaleWrite("there is one of this number")

    def save(self, before: Subscription, after: Subscription) -> None:
        kept = self._store.subscriptions.get(_key(after))
        if kept is None or Subscription.model_validate_json(kept).revision != before.revision:
            raise StaleWrite("a webhook was changed by another writer")
        self._store.subscriptions[_key(after)] = after.model_dump_json()

    def delete(self, subscription: Subscription) -> None:
        if self._store.subscriptions.get(_key(subscription)) == subscription.model_dump_json():
            del self._store.subscriptions[_key(subscription)]

    def due(self, moment: datetime) -> Iterator[str]:
        every = [Subscription.model_validate_json(one) for one in list(self._store.subscriptions.values())]
        return iter([one.job_id for one in every if one.due_at is not None and one.due_at <= moment])


def _key(subscription: Subscription) -> tuple[str, int]:
    return subscription.job_id, subscription.number


class MemorySigningSecrets:
    def __init__(self) -> None:
        self._kept: dict[str, SigningSecret] = {}

    def load(self, tenant: str) -> SigningSecret | None:
        return self._kept.get(tenant)

    def save(self, before: SigningSecret | None, after: SigningSecret) -> None:
        if self._kept.get(after.tenant) != before:
            raise StaleWrite("the signing secret was changed by another writer")
        self._kept[after.tenant] = after
