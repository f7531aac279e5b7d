"""dramatiq on Redis: a message is acknowledged when its actor has ended."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.peers import jobs

# Maintenance finds the messages of dead workers. It happens by chance, with one command in a thousand as it ships.
broker = RedisBroker(url=jobs.REDIS_URL, heartbeat_timeout=jobs.GIVEN_BACK * 1000, maintenance_chance=100_000)
dramatiq.set_broker(broker)


@dramatiq.actor  # type: ignore[untyped-decorator]
def run(job_id: str, topic: str, language: str) -> None:
    jobs.run(job_id, topic, language)


def send(job_id: str, topic: str, language: str) -> None:
    run.send(job_id, topic, language)


jobs.ready()
