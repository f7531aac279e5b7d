"""The formats of webhooks' messages, and those of the protocols' own notifications."""

from collections.abc import Mapping

from crewrelay.jobs.ports import JobRecord
from crewrelay.jobs.records.events import Event
from crewrelay.jobs.records.subscription import Subscription
from crewrelay.jobs.webhooks.subjects import Form, Message
from crewrelay.outbound.forms import FORMS as WEBHOOK_FORMS


def _a2a_1_0(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    from crewrelay.http.protocols.a2a.notifications import form_1_0  # here, as below: its package needs FastAPI

    return form_1_0(record, event, subscription)


def _a2a_0_3(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    from crewrelay.http.protocols.a2a.notifications import form_0_3

    return form_0_3(record, event, subscription)


def _amp(record: JobRecord, event: Event, subscription: Subscription) -> Message:
    from crewrelay.http.protocols.amp.notifications import FORMS as AMP_FORMS

    return AMP_FORMS[subscription.webhook.form](record, event, subscription)


_AMP = {"amp-crew": _amp, "amp-human-input": _amp, "amp-stream": _amp}

FORMS: Mapping[str, Form] = {**WEBHOOK_FORMS, "a2a": _a2a_1_0, "a2a-0.3": _a2a_0_3, **_AMP}
