"""Joins repetitions of a request without an idempotency key to the job of the first one: the clients of some platforms
repeat a request by themselves, when its answer was lost or they are told to, and send no key.
"""

from datetime import timedelta

from crewrelay.http.services import Services
from crewrelay.jobs.records.job import Job, JobInput, Status, keyed_id

JOINED_FOR = timedelta(minutes=10)  # after the end of the job
_PERIODS = 14  # in which an unfinished job may have begun: longer than crews may run, unless told otherwise
_WITHOUT_ANSWER = (Status.FAILED, Status.CANCELLED)
_MOST_AFRESH = 50  # jobs in a row that ended without an answer, in one read


def submitted(services: Services, tenant: str, job_input: JobInput, key: str | None, *, is_repeated: bool) -> Job:
    """The job of this tenant with the same input that has not ended, or ended minutes ago; else a new one. One that
    ended without an answer is only for a request that says that it is repeated.

    Raises IdempotencyConflict, TooManyJobs, Unavailable.
    """
    if key is not None:
        return services.submission.submit(tenant, job_input, key)
    now = services.long_poll.clock()
    period, digest = int(now.timestamp() // JOINED_FOR.total_seconds()), job_input.digest()
    keys = [f"same:{digest}:{period - back}" for back in (0, -1, *range(1, _PERIODS))]  # -1: clocks differ
    ids = [keyed_id(tenant, each) for each in keys]
    found = {job.id: job for job in services.store.jobs(ids, tenant)}
    for job in (found[each] for each in ids if each in found):
        last, later = _last_of(services, job)
        if last.finished_at and now - last.finished_at >= JOINED_FOR:
            continue
        if later and not is_repeated:
            return services.submission.submit(tenant, job_input, later)
        return last
    return services.submission.submit(tenant, job_input, keys[0])


def _last_of(services: Services, job: Job) -> tuple[Job, str | None]:
    """The last of the jobs that began with this one, each after the end of one without an answer, and the key of the
    one that may follow.
    """
    ids = [job.id]
    for _ in range(_MOST_AFRESH if job.status in _WITHOUT_ANSWER else 0):
        ids.append(keyed_id(job.tenant, f"same:{ids[-1]}"))
    found = {each.id: each for each in services.store.jobs(ids[1:], job.tenant)} if ids[1:] else {}
    for following in ids[1:]:
        if job.status not in _WITHOUT_ANSWER:
            break
        if following not in found:
            return job, f"same:{job.id}"
        job = found[following]
    return job, None
