"""taskiq on a Redis stream: a message is acknowledged when its task has ended."""

from taskiq_redis import RedisStreamBroker

from tests.bench.peers import jobs

broker = RedisStreamBroker(jobs.REDIS_URL, idle_timeout=jobs.GIVEN_BACK * 1000)


@broker.task(task_name="run")  # type: ignore[untyped-decorator]
def run(job_id: str, topic: str, language: str) -> None:
    jobs.run(job_id, topic, language)


async def send(job_id: str, topic: str, language: str) -> None:
    await run.kiq(job_id, topic, language)


jobs.ready()
