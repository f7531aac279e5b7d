"""The routes of webhooks: what was delivered of a job or batch, deliver again, the tenant's signing secret."""

import os
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from crewrelay.http.callers import Reader, Webhooker
from crewrelay.http.document import operation_id, problems
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.batch import Batch
from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.subscription import Attempt, State, Subscription
from crewrelay.jobs.webhooks.deliveries import Deliveries
from crewrelay.jobs.webhooks.signing import SigningSecret, SigningSecrets, rotate, secret_of


class WebhookDeliveries(BaseModel):
    """`delivered_up_to` is the number of the last event that is settled. `state`: `gave_up` after the last attempt,
    `gone` after a 410. `attempts` are the last 20.
    """

    number: int
    url: str
    events: list[EventType]
    form: str
    state: State
    delivered_up_to: int
    next_attempt_at: datetime | None
    attempts: list[Attempt]

    @classmethod
    def of(cls, subscription: Subscription) -> "WebhookDeliveries":
        webhook = subscription.webhook
        return cls(
            number=subscription.number,
            url=webhook.url,
            events=list(webhook.events),
            form=webhook.form,
            state=subscription.state,
            delivered_up_to=subscription.after,
            next_attempt_at=subscription.not_before,
            attempts=list(subscription.attempts),
        )


class JobDeliveries(BaseModel):
    job_id: str
    webhooks: list[WebhookDeliveries]

    @classmethod
    def of(cls, job_id: str, subscriptions: list[Subscription]) -> "JobDeliveries":
        return cls(job_id=job_id, webhooks=[WebhookDeliveries.of(one) for one in subscriptions])


class BatchDeliveries(BaseModel):
    """Of the webhook that is told of the batch's end, which is its only event."""

    batch_id: str
    webhooks: list[WebhookDeliveries]

    @classmethod
    def of(cls, batch: Batch, subscriptions: list[Subscription]) -> "BatchDeliveries":
        return cls(batch_id=batch.id, webhooks=[WebhookDeliveries.of(one) for one in subscriptions])


class WebhookSecret(BaseModel):
    """`secret` signs every message of the tenant; `previous` does, too, until `previous_until`."""

    secret: str
    created_at: datetime
    previous: str | None
    previous_until: datetime | None

    @classmethod
    def of(cls, secret: SigningSecret, now: datetime) -> "WebhookSecret":
        current, *previous = secret.valid(now)
        return cls(
            secret=current,
            created_at=secret.created_at,
            previous=previous[0] if previous else None,
            previous_until=secret.previous_until if previous else None,
        )


def webhook_routes(deliveries: Deliveries, batches: Batches, secrets: SigningSecrets, clock: Clock) -> APIRouter:
    router = APIRouter(generate_unique_id_function=operation_id)

    @router.get("/crewai/jobs/{job_id}/deliveries", responses=problems(404, 422, 503), tags=["webhooks"])
    def job_deliveries(caller: Reader, job_id: str) -> JobDeliveries:
        """What the job's webhooks were told, and what came of it."""
        return JobDeliveries.of(job_id, deliveries.of(caller.tenant, job_id))

    @router.post(
        "/crewai/jobs/{job_id}/deliveries/redeliver",
        status_code=202,
        responses=problems(404, 422, 503),
        tags=["webhooks"],
    )
    def redeliver(
        caller: Webhooker,
        job_id: str,
        after: Annotated[
            int | None,
            Query(ge=0, description="Deliver the events after this number; default: from the last one tried"),
        ] = None,
    ) -> JobDeliveries:
        """Deliver again, under the same ids, also to webhooks that were given up."""
        return JobDeliveries.of(job_id, deliveries.redeliver(caller.tenant, job_id, after))

    @router.get("/crewai/batches/{batch_id}/deliveries", responses=problems(404, 422, 503), tags=["webhooks"])
    def batch_deliveries(caller: Reader, batch_id: str) -> BatchDeliveries:
        """What the batch's webhook was told, and what came of it."""
        batch = batches.of_tenant(caller.tenant, batch_id)
        return BatchDeliveries.of(batch, deliveries.of_batch(batch))

    @router.post(
        "/crewai/batches/{batch_id}/deliveries/redeliver",
        status_code=202,
        responses=problems(404, 422, 503),
        tags=["webhooks"],
    )
    def redeliver_batch(caller: Webhooker, batch_id: str) -> BatchDeliveries:
        """Tell the batch's end again, under the same id, also to a webhook that was given up."""
        batch = batches.of_tenant(caller.tenant, batch_id)
        return BatchDeliveries.of(batch, deliveries.redeliver_batch(batch))

    @router.get("/crewai/webhooks/secret", responses=problems(503), tags=["webhooks"])
    def signing_secret(caller: Webhooker) -> WebhookSecret:
        """The secret that signs the tenant's webhooks. It is made when it is first asked for."""
        now = clock()
        return WebhookSecret.of(secret_of(secrets, caller.tenant, now, os.urandom), now)

    @router.post("/crewai/webhooks/secret/rotate", responses=problems(409, 503), tags=["webhooks"])
    def rotate_signing_secret(caller: Webhooker) -> WebhookSecret:
        """Make a new secret. For a day, messages are signed with the one before as well."""
        now = clock()
        return WebhookSecret.of(rotate(secrets, caller.tenant, now, os.urandom), now)

    return router
