"""What the API's routes call."""

from typing import NamedTuple

from crewrelay.http.long_poll import LongPoll
from crewrelay.jobs.batches.batches import Batches
from crewrelay.jobs.intervention import Intervention
from crewrelay.jobs.ports import JobStore
from crewrelay.jobs.submission import Submission
from crewrelay.jobs.webhooks.deliveries import Deliveries
from crewrelay.jobs.webhooks.signing import SigningSecrets


class Services(NamedTuple):
    submission: Submission
    intervention: Intervention
    store: JobStore
    batches: Batches
    long_poll: LongPoll
    deliveries: Deliveries
    signing_secrets: SigningSecrets
