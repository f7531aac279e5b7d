"""What the tests of a job's transitions make a job of."""

from datetime import UTC, datetime, timedelta

from crewrelay.jobs.records.job import Failure, JobInput
from crewrelay.jobs.records.policy import Policy

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = Policy(lease=timedelta(seconds=60), keep=timedelta(days=3))
INPUT = JobInput(crew="research", inputs={"topic": "neural networks", "language": "en"})
FAILURE = Failure(type="TimeoutError", message="The model did not answer.")
OUTAGE = Failure(type="RateLimitError", message="Slow down.", retryable=True, outage=True)
