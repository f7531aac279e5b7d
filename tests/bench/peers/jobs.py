"""What the tasks of Celery, dramatiq and taskiq have in common: they run the crew and keep its answer in Redis.

BENCH_REDIS_URL, BENCH_MODEL_URL; BENCH_WORKER is set where crews run.
"""

import logging
import os
from collections.abc import Callable
from functools import cache

from redis import Redis

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")
# Seconds after which a broker gives a dead worker's jobs to another one. All ship with more: see docs/benchmarks.md.
GIVEN_BACK = 10


logging.disable(logging.WARNING)  # crewrelay logs no more than errors of its crews while it is measured


@cache
def results() -> "Redis[str]":
    return Redis.from_url(REDIS_URL, decode_responses=True)


def run(job_id: str, topic: str, language: str) -> None:
    from tests.bench.peers.plain_crew import plain_crew

    results().set(f"done:{job_id}", plain_crew(os.environ["BENCH_MODEL_URL"])(topic, language))


def ready() -> None:
    """In a worker: imports CrewAI now, as crewrelay's crew processes do, and says so."""
    if os.environ.get("BENCH_WORKER"):
        from tests.bench.peers.plain_crew import plain_crew

        plain_crew(os.environ["BENCH_MODEL_URL"])
        results().set(f"ready:{os.getpid()}", "1")


def workers() -> int:
    return len(list(results().scan_iter("ready:*")))


Send = Callable[[str, str, str], None]
