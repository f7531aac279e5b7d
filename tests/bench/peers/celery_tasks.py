"""Celery on Redis. BENCH_LATE: a message is acknowledged when its task has ended, not when it begins."""

import os

from celery import Celery

from tests.bench.peers import jobs

app = Celery("bench", broker=jobs.REDIS_URL)
late = bool(os.environ.get("BENCH_LATE"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=late,
    broker_transport_options={
        "visibility_timeout": jobs.GIVEN_BACK,
        "unacked_restore_interval": 1,  # it looks for messages to give back once in 100 seconds else: 10 times this
        "unacked_restore_throttle": 1,
    },
    broker_connection_retry_on_startup=True,
    **({"worker_prefetch_multiplier": 1} if late else {}),
)


@app.task(name="run")  # type: ignore[untyped-decorator]
def run(job_id: str, topic: str, language: str) -> None:
    jobs.run(job_id, topic, language)


def send(job_id: str, topic: str, language: str) -> None:
    run.delay(job_id, topic, language)


jobs.ready()
