"""Builds the job store, queues and tokens on the engine that the settings name."""

import os
import random
from typing import Protocol

from crewrelay.aws.meter import EmfMeter
from crewrelay.events.records import DeadLetters, Queue
from crewrelay.jobs.access import Tokens
from crewrelay.jobs.observed import ObservedStore
from crewrelay.jobs.ports import Changes, Doorbell, JobStore
from crewrelay.jobs.records.batch import BatchStore, UploadFiles
from crewrelay.jobs.webhooks.deliveries import Deliveries
from crewrelay.jobs.webhooks.notifier import Notifier, Subscriptions
from crewrelay.jobs.webhooks.signing import SigningSecrets
from crewrelay.settings import JobSettings, NotifierSettings, StoreSettings, UploadSettings
from crewrelay.system import new_id, utcnow

meter = EmfMeter()


class JobQueue(Doorbell, Queue, Protocol):
    """The doorbell, and the queue of its bells."""


class _Engine(Protocol):
    def job_store(self, settings: JobSettings) -> JobStore: ...
    def doorbell(self, settings: JobSettings) -> JobQueue: ...
    def intake_queue(self, settings: JobSettings, queue_url: str) -> Queue: ...
    def wake(self, settings: StoreSettings) -> None: ...
    def changes(self, settings: StoreSettings) -> Changes: ...
    def batches(self, settings: StoreSettings) -> BatchStore: ...
    def uploads(self, settings: JobSettings) -> UploadFiles: ...
    def upload_bells(self, settings: UploadSettings) -> Doorbell: ...
    def due_uploads(self, settings: JobSettings) -> Queue | None: ...
    def dead_letters(self, settings: JobSettings, queue_url: str) -> DeadLetters: ...
    def tokens(self, settings: StoreSettings) -> Tokens: ...
    def notifier_bell(self, settings: JobSettings) -> JobQueue: ...
    def subscriptions(self, settings: StoreSettings) -> Subscriptions: ...
    def signing_secrets(self, settings: StoreSettings) -> SigningSecrets: ...


def _engine(settings: StoreSettings) -> _Engine:
    """Imports only the engine that is used."""
    if settings.data:
        from crewrelay.wiring import on_sqlite

        return on_sqlite
    from crewrelay.wiring import on_aws

    return on_aws


def job_store(settings: JobSettings) -> ObservedStore:
    return ObservedStore(_engine(settings).job_store(settings), meter, notifier_bell(settings))


def doorbell(settings: JobSettings) -> JobQueue:
    return _engine(settings).doorbell(settings)


def intake_queue(settings: JobSettings, queue_url: str) -> Queue:
    """The queue at `queue_url` on AWS; on one machine, a folder of files."""
    return _engine(settings).intake_queue(settings, queue_url)


def wake(settings: StoreSettings) -> None:
    """Let those look who wait for a bell."""
    _engine(settings).wake(settings)


def changes(settings: StoreSettings) -> Changes:
    return _engine(settings).changes(settings)


def batches(settings: StoreSettings) -> BatchStore:
    return _engine(settings).batches(settings)


def uploads(settings: JobSettings) -> UploadFiles:
    return _engine(settings).uploads(settings)


def upload_bells(settings: UploadSettings) -> Doorbell:
    return _engine(settings).upload_bells(settings)


def due_uploads(settings: JobSettings) -> Queue | None:
    """The bells of uploads where the intake queue has none."""
    return _engine(settings).due_uploads(settings)


def dead_letters(settings: JobSettings, queue_url: str) -> DeadLetters:
    """Of the queue at `queue_url` on AWS; on one machine, files in the folder."""
    return _engine(settings).dead_letters(settings, queue_url)


def tokens(settings: StoreSettings) -> Tokens:
    return _engine(settings).tokens(settings)


def notifier_bell(settings: JobSettings) -> JobQueue:
    return _engine(settings).notifier_bell(settings)


def signing_secrets(settings: StoreSettings) -> SigningSecrets:
    return _engine(settings).signing_secrets(settings)


def deliveries(settings: JobSettings, store: JobStore) -> Deliveries:
    return Deliveries(store, _engine(settings).subscriptions(settings), notifier_bell(settings), utcnow)


def notifier(settings: NotifierSettings) -> Notifier:
    from crewrelay.jobs.batches.counting import Counting  # here, as what follows: only the notifier needs them
    from crewrelay.jobs.batches.ends import BatchSubjects
    from crewrelay.outbound.forms import BATCH_FORMS
    from crewrelay.outbound.post import HttpPost
    from crewrelay.wiring.forms import FORMS

    store = job_store(settings)
    return Notifier(
        store,
        _engine(settings).subscriptions(settings),
        signing_secrets(settings),
        HttpPost(settings.guard(), utcnow),
        FORMS,
        notifier_bell(settings),
        utcnow,
        new_id,
        os.urandom,
        random.random,
        meter,
        BatchSubjects(Counting(store, batches(settings)), BATCH_FORMS, utcnow).of,
    )
