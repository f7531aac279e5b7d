"""What a caller may see and do of webhooks, of jobs and batches, and what the sweeper does for them."""

import logging
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from crewrelay.jobs.errors import InvalidRequest, StaleWrite, Unavailable
from crewrelay.jobs.ports import Clock, Doorbell, JobStore, job_of_tenant
from crewrelay.jobs.records import subscription as change
from crewrelay.jobs.records.batch import Batch, subject_id
from crewrelay.jobs.records.event_log import last_number
from crewrelay.jobs.records.job import Job
from crewrelay.jobs.records.subscription import State, Subscription
from crewrelay.jobs.records.webhook import Webhook
from crewrelay.jobs.submission import ring
from crewrelay.jobs.webhooks.notifier import Subscriptions

logger = logging.getLogger(__name__)

_TRIES = 5
_MOST_WEBHOOKS = 20  # of a job
_ENOUGH_BELLS = 1000  # waiting in the queue: enough to keep the notifier busy until the next sweep


class Deliveries(NamedTuple):
    store: JobStore
    subscriptions: Subscriptions
    bell: Doorbell
    clock: Clock

    def of(self, tenant: str, job_id: str) -> list[Subscription]:
        """Raises UnknownJob, Unavailable."""
        return self.subscriptions.of(job_of_tenant(self.store, tenant, job_id).id)

    def add(self, tenant: str, job_id: str, webhook: Webhook) -> Subscription:
        """Subscribe a webhook to the events that follow. One of its name gives way, and it goes on from there.

        Raises UnknownJob, InvalidRequest if there are too many, Unavailable.
        """
        for _ in range(_TRIES):
            job = job_of_tenant(self.store, tenant, job_id)
            try:
                added = self._put(job, webhook)
            except StaleWrite:
                continue
            self._mark(tenant, job_id, webhook)
            ring(self.bell, job_id)  # something may have happened before the job was marked
            return added
        raise _being_changed(job_id)

    def _put(self, job: Job, webhook: Webhook) -> Subscription:
        """Raises StaleWrite, InvalidRequest."""
        found, now, last = self.subscriptions.of(job.id), self.clock(), last_number(job)
        if same := _named(found, webhook.name):
            if same.webhook == webhook and same.state is State.ACTIVE:
                return same  # the request was repeated
            added = change.replace(same, webhook, now, same.after)
            self.subscriptions.save(same, added)
        elif free := next((one for one in found if one.state is State.REMOVED), None):
            added = change.replace(free, webhook, now, last)
            self.subscriptions.save(free, added)
        elif len(found) < _MOST_WEBHOOKS:
            added = change.subscribe(job, webhook, len(found), now, last)
            self.subscriptions.put(added)
        else:
            raise InvalidRequest(f"A job has at most {_MOST_WEBHOOKS} webhooks: remove one first.")
        return added

    def remove(self, tenant: str, job_id: str, name: str) -> None:
        """Nothing happens if there is no webhook of this name. Raises UnknownJob, Unavailable."""
        for _ in range(_TRIES):
            found = _named(self.of(tenant, job_id), name)
            if found is None:
                return
            try:
                return self.subscriptions.save(found, change.remove(found))
            except StaleWrite:
                continue
        raise _being_changed(job_id)

    def _mark(self, tenant: str, job_id: str, webhook: Webhook) -> None:
        for _ in range(_TRIES):
            job = job_of_tenant(self.store, tenant, job_id)
            notify = tuple(sorted({*job.notify, *webhook.events}))
            if notify == job.notify:
                return
            try:
                update = {"notify": notify, "revision": job.revision + 1}
                return self.store.save(job, job.model_copy(update=update))
            except StaleWrite:
                continue
        raise _being_changed(job_id)

    def redeliver(self, tenant: str, job_id: str, after: int | None = None) -> list[Subscription]:
        """Deliver the events after a number once more, under the same ids; by default the last one that was tried and
        what follows. Raises UnknownJob, Unavailable.
        """
        job = job_of_tenant(self.store, tenant, job_id)
        return self._redelivered(job.id, None if after is None else min(after, last_number(job)))  # others are owed

    def of_batch(self, batch: Batch) -> list[Subscription]:
        """Raises Unavailable."""
        return self.subscriptions.of(subject_id(batch.id))

    def redeliver_batch(self, batch: Batch) -> list[Subscription]:
        """Tell its end once more, under the same id, when it has ended. Raises Unavailable."""
        return self._redelivered(subject_id(batch.id), 0)

    def _redelivered(self, subject_id: str, start: int | None) -> list[Subscription]:
        found = [one for one in self.subscriptions.of(subject_id) if one.state is not State.REMOVED]
        rearmed = [self._rearmed(one, start, redeliver=True) for one in found]
        ring(self.bell, subject_id)
        return rearmed

    def rearm(self, job: Job) -> None:
        """Before a job is retried: there will be events again. A receiver that is gone stays so. Raises Unavailable."""
        for one in self.subscriptions.of(job.id) if job.notify else ():
            if one.state not in (State.GONE, State.REMOVED):
                self._rearmed(one, None, redeliver=False)

    def _rearmed(self, subscription: Subscription, after: int | None, *, redeliver: bool) -> Subscription:
        for _ in range(_TRIES):
            start = after
            if redeliver and after is None:
                tried = subscription.attempts[-1].event - 1 if subscription.attempts else subscription.after
                start = min(subscription.after, tried)
            rearmed = change.rearm(subscription, self.clock(), start)
            try:
                self.subscriptions.save(subscription, rearmed)
                return rearmed
            except StaleWrite:
                found = self.subscriptions.of(subscription.job_id)
                subscription = next((one for one in found if one.number == subscription.number), subscription)
                if subscription.state is State.REMOVED:
                    return subscription
        raise _being_changed(subscription.job_id)

    def ring_for_due(self, deadline: datetime) -> None:
        """Ring for the jobs whose webhooks are owed something, as many as the queue has room for. Writes nothing: the
        notifier sets the next due time. Never raises: the next sweep rings again.
        """
        try:
            room = _ENOUGH_BELLS - self.bell.waiting()
            for job_id in islice(self.subscriptions.due(self.clock()), max(0, room)):
                if self.clock() >= deadline:
                    break
                ring(self.bell, job_id)
        except Exception:
            logger.warning("could not ring for webhooks", exc_info=True)


def _named(subscriptions: list[Subscription], name: str | None) -> Subscription | None:
    named = (one for one in subscriptions if one.state is not State.REMOVED and one.webhook.name == name)
    return None if name is None else next(named, None)


def _being_changed(job_id: str) -> Unavailable:
    return Unavailable(f"The webhooks of job {job_id} are being changed by others; try again.")
