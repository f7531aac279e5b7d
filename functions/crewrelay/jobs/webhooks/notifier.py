"""Delivers what jobs and batches owe to webhooks: whoever answers a bell claims each subscription and delivers its next
events in order.

A subscription is claimed by a conditional write, and its outcome saved by another. If the process dies in between, the
lease expires, the sweeper rings, and the same message is sent again under the same id.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from crewrelay.jobs.access import RandomBytes
from crewrelay.jobs.errors import DamagedJob, StaleWrite
from crewrelay.jobs.log_keys import add_log_keys, logged_with
from crewrelay.jobs.ports import Clock, Doorbell, Jitter, JobStore, Measure, Meter, NewId
from crewrelay.jobs.records.events import Event
from crewrelay.jobs.records.subscription import (
    LEASE,
    Attempt,
    Outcome,
    State,
    Subscription,
    claim,
    claimable,
    delivered,
    failed,
    postpone,
    put_off,
    rest,
)
from crewrelay.jobs.submission import ring
from crewrelay.jobs.webhooks.shares import Shares
from crewrelay.jobs.webhooks.signing import SigningSecrets, secret_of, signed
from crewrelay.jobs.webhooks.subjects import Form, JobSubjects, Subject, Subjects

logger = logging.getLogger(__name__)

_TRIES = 3
_LONGEST_BELL = timedelta(minutes=15)  # a later attempt is left to the sweeper
_ORPHAN = timedelta(hours=1)  # a submission takes less


class Post(Protocol):
    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """One POST request, over well before a lease is. Never raises."""


class Subscriptions(Protocol):
    """Every method may raise Unavailable. New ones come with their job, by the job store's `create`."""

    def of(self, job_id: str) -> list[Subscription]:
        """A consistent read, in the order of their numbers."""

    def put(self, subscription: Subscription) -> None:
        """Put one of an existing job. Raises StaleWrite if there is one of its number."""

    def save(self, before: Subscription, after: Subscription) -> None:
        """Raises StaleWrite if the row no longer is `before`."""

    def delete(self, subscription: Subscription) -> None:
        """Nothing happens if the row no longer is this one."""

    def due(self, moment: datetime) -> Iterator[str]:
        """Ids of the jobs whose subscriptions were due at `moment`, from an eventually consistent index."""


class Notifier:
    def __init__(
        self,
        store: JobStore,
        subscriptions: Subscriptions,
        secrets: SigningSecrets,
        post: Post,
        forms: Mapping[str, Form],
        bell: Doorbell,
        clock: Clock,
        new_id: NewId,
        random: RandomBytes,
        jitter: Jitter,
        meter: Meter,
        batches: Subjects = lambda _: None,
    ) -> None:
        self._jobs = JobSubjects(store, forms).of
        self._batches = batches
        self._subscriptions = subscriptions
        self._secrets = secrets
        self._post = post
        self._bell = bell
        self._clock = clock
        self._new_id = new_id
        self._random = random
        self._jitter = jitter
        self._meter = meter
        self._shares = Shares()

    def notify(self, job_id: str, deadline: datetime) -> None:
        """Deliver what the job owes now. Raises Unavailable."""
        with logged_with(job_id=job_id):
            for subscription in self._subscriptions.of(job_id):
                following: Subscription | None = subscription
                while following:
                    following = self._step(following, deadline)

    def _step(self, subscription: Subscription, deadline: datetime) -> Subscription | None:
        """Deliver its next event. Returns it as it is then, or None if there is nothing more to do now.

        After each delivery its subject is read again: the bell of an event that was saved meanwhile found the
        subscription held, and was dropped.
        """
        now = self._clock()
        if not claimable(subscription, now):
            return None
        try:
            subject = (self._batches if subscription.batch else self._jobs)(subscription)
        except DamagedJob:
            logger.error("a job can't be read, and its webhook is not told", exc_info=True)
            self._save(subscription, postpone(subscription, now))
            return None
        if subject is None:
            self._without_subject(subscription, now)
            return None
        add_log_keys(**subject.log_keys)
        event, now = subscription.next_of(subject.events(subscription.after)), self._clock()
        if event is None:
            self._owing_nothing(subscription, subject, now)
            return None
        if now + LEASE > deadline:
            ring(self._bell, subscription.job_id)
            return None
        if (pause := self._shares.take(subscription.tenant, now)) is not None:
            self._save(subscription, put_off(subscription, now + pause))
            ring(self._bell, subscription.job_id, pause)
            return None
        try:
            held = claim(subscription, self._new_id(), now, event)
            self._subscriptions.save(subscription, held)
            return self._conclude(held, subject, event, self._delivered(held, subject, event))
        except StaleWrite:
            return None  # another notifier has it
        finally:
            self._shares.give_back(subscription.tenant, now, self._clock())

    def _without_subject(self, subscription: Subscription, now: datetime) -> None:
        """The submission of its job died before it put that, or is about to put it; or its batch has expired."""
        if now - subscription.created_at > _ORPHAN:
            return self._subscriptions.delete(subscription)
        self._save(subscription, postpone(subscription, now))

    def _owing_nothing(self, subscription: Subscription, subject: Subject, now: datetime) -> None:
        if subscription.due_at is None:
            return
        if subject.finished:
            self._save(subscription, rest(subscription))
        elif subscription.due_at <= now:
            later = postpone(subscription, now)
            self._save(subscription, later)
            if later.batch:  # nobody rings when it has ended
                self._ring_at(later, later.due_at, now)

    def _save(self, before: Subscription, after: Subscription) -> None:
        try:
            self._subscriptions.save(before, after)
        except StaleWrite:
            logger.info("another notifier was faster")

    def _delivered(self, held: Subscription, subject: Subject, event: Event) -> Outcome:
        """Send the event's message. An error of ours is an attempt that failed."""
        try:
            message = subject.message(event, held)
            secret = secret_of(self._secrets, held.tenant, self._clock(), self._random)
            signature = signed(secret, held.message_id(event), self._clock(), message.body)
            headers = {**held.webhook.headers, **message.headers, **signature}
            return self._post(held.webhook.url, headers, message.body)
        except Exception as error:
            logger.exception("could not make a message")
            return Outcome(error=f"internal error: {type(error).__name__}")

    def _conclude(self, held: Subscription, subject: Subject, event: Event, outcome: Outcome) -> Subscription | None:
        """Save what came of it, also if the subscription was rearmed meanwhile."""
        started, now = (held.lease_until or self._clock()) - LEASE, self._clock()
        attempt = Attempt(
            event=event.number,
            at=started,
            status=outcome.status,
            error=outcome.error,
            milliseconds=max(0, (now - started) // timedelta(milliseconds=1)),
        )
        owes_more = not subject.finished or self._owes_more(held, subject, event)
        jitter = self._jitter()

        def concluded(before: Subscription) -> Subscription:
            if outcome.success:
                done = delivered(before, attempt, owes_more or before.revision > held.revision, now)
                # Set back by a redelivery: the events before this one are owed again.
                return done.model_copy(update={"after": before.after}) if before.after < held.after else done
            return failed(before, attempt, outcome.retry_after, now, jitter)

        after = self._change(held, concluded)
        if after:
            self._report(after, attempt, outcome)
        if after:
            self._ring_at(after, after.not_before, now)
        return after if outcome.success else None

    def _ring_at(self, subscription: Subscription, moment: datetime | None, now: datetime) -> None:
        if moment and moment - now <= _LONGEST_BELL:
            ring(self._bell, subscription.job_id, moment - now)

    def _owes_more(self, held: Subscription, subject: Subject, event: Event) -> bool:
        following = held.model_copy(update={"after": event.number})
        return following.next_of(subject.events(event.number)) is not None

    def _change(self, held: Subscription, concluded: Callable[[Subscription], Subscription]) -> Subscription | None:
        """None if another notifier has it, because the lease has expired."""
        before: Subscription | None = held
        for _ in range(_TRIES):
            if before is None or before.holder != held.holder:
                return None
            try:
                after = concluded(before)
                self._subscriptions.save(before, after)
            except StaleWrite:
                before = next((one for one in self._subscriptions.of(held.job_id) if one.number == held.number), None)
                continue
            return after
        return None

    def _report(self, after: Subscription, attempt: Attempt, outcome: Outcome) -> None:
        said = {"event": attempt.event, "http_status": attempt.status, "milliseconds": attempt.milliseconds}
        if outcome.success:
            logger.info("webhook delivered", extra=said)
            return self._meter.record({Measure.DELIVERIES: 1})
        logger.warning("webhook not delivered: %s", outcome.error or attempt.status, extra=said)
        given_up = {} if after.state is State.ACTIVE else {Measure.DELIVERIES_GIVEN_UP: 1.0}
        self._meter.record({Measure.DELIVERIES_FAILED: 1.0, **given_up})
