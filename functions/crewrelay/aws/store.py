"""The job store on one DynamoDB table. Each transition is one conditional write of what changed."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from crewrelay.aws import rows
from crewrelay.aws.batch_get import MOST_LARGE, batch_get
from crewrelay.aws.bodies import Bodies
from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.aws.deletion import delete_all
from crewrelay.aws.indexes import due, unfinished
from crewrelay.aws.listing import listed
from crewrelay.aws.subscriptions import DynamoSubscriptions
from crewrelay.jobs.errors import CrewrelayError, DamagedJob, IdempotencyConflict, StaleWrite
from crewrelay.jobs.listing import Filter, Page, Position, page_of
from crewrelay.jobs.ports import Clock, JobRecord
from crewrelay.jobs.records.answer import Answer, File
from crewrelay.jobs.records.event_log import ended_unread
from crewrelay.jobs.records.events import MOST_STORED, EventRow
from crewrelay.jobs.records.job import Failure, Job, JobInput, Status
from crewrelay.jobs.records.journal import Call
from crewrelay.jobs.records.questions import Question
from crewrelay.jobs.records.subscription import Subscription

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = logging.getLogger(__name__)

_LONGEST_SUBMISSION = 60  # seconds, well above the time between the two writes of a submission


class DynamoJobStore:
    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock, bodies: Bodies) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._bodies = bodies
        self._subscriptions = DynamoSubscriptions(client, table, clock)

    def create(self, job: Job, job_input: JobInput, subscriptions: Sequence[Subscription] = ()) -> Job:
        """Puts the INPUT row and the subscriptions, then the JOB row, which is the commit. All are idempotent."""
        body = self._bodies.put(job.id, job_input.model_dump_json())
        body |= {"input_digest": job.input_digest, "title": job_input.title or None}
        item = rows.body_item(job, "INPUT", body)
        # An equal input is put again, so that it expires with the job put after it.
        other = self._put_once(item, "input_digest = :digest", {":digest": job.input_digest})
        if other is not None and self._is_orphan(other, job):
            values = {":digest": rows.plain(other)["input_digest"], ":expires_at": rows.plain(other)["expires_at"]}
            other = self._put_once(item, "(input_digest = :digest AND expires_at = :expires_at)", values)
        _require_same_input(job, other)
        for subscription in subscriptions:
            self._subscriptions.put_before_job(subscription)
        existing = self._put_once(rows.key(job.id, "JOB") | rows.typed(rows.job_values(job)))
        _require_same_input(job, existing)
        return job if existing is None else rows.job_of(existing)

    def _is_orphan(self, item: rows.Item, job: Job) -> bool:
        """Whether an INPUT row has no job: its submission died long ago, or the job expired first."""
        age = int(job.expires_at.timestamp()) - int(item["expires_at"]["N"])
        if age <= _LONGEST_SUBMISSION:
            return False
        found = self._get(job.id, "JOB")
        return "JOB" not in found or rows.expired(found["JOB"], self._clock())

    def _put_once(self, item: rows.Item, or_over: str = "", values: dict[str, Any] | None = None) -> rows.Item | None:
        """Put if absent or expired; else return the existing item.

        `or_over` is a condition, with its `values`, under which an existing item may be overwritten.
        """
        conditions = filter(None, ("attribute_not_exists(pk)", "expires_at <= :now", or_over))
        values = {":now": int(self._clock().timestamp()), **(values or {})}
        with unavailable_if_it_fails("table"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression=" OR ".join(conditions),
                    ExpressionAttributeValues=rows.typed(values),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                return _existing(error)
        return None

    def load(self, job_id: str, tenant: str | None = None) -> JobRecord | None:
        """Reads both rows in one request, and the answer or question only if the job is completed or waits."""
        if len(job_id) > rows.LONGEST_ID:
            return None
        found = self._get(job_id, "JOB", "INPUT")
        if "JOB" not in found or rows.expired(found["JOB"], self._clock()):
            return None
        with _damaged_if_unreadable(job_id):
            job = rows.job_of(found["JOB"])
        if tenant not in (None, job.tenant):
            return None
        job_input = self._input_of(job, found.get("INPUT"))
        if job.status is Status.WAITING:
            return JobRecord(job, job_input, None, question=self._question_of(job))
        if job.status is not Status.COMPLETED:
            return JobRecord(job, job_input, None)
        sk, earlier = rows.result_sks(job)
        found = self._get(job_id, sk) or self._get(job_id, earlier)
        with _damaged_if_unreadable(job_id):
            (result,) = map(rows.plain, found.values())
            url = self._bodies.url_if_large(result)
            answer = None if url else Answer.model_validate_json(self._bodies.read(result))
        return JobRecord(job, job_input, answer, url)

    def jobs(self, job_ids: Sequence[str], tenant: str) -> list[Job]:
        items = self._job_rows(job_ids)
        return [job for item in items if (job := self._readable(item)) is not None and job.tenant == tenant]

    def statuses(self, job_ids: Sequence[str], tenant: str) -> dict[str, Status]:
        return {
            rows.job_id(item): Status(item["status"]["S"])
            for item in self._job_rows(job_ids)
            if item["tenant"]["S"] == tenant and not rows.expired(item, self._clock())
        }

    def titles(self, job_ids: Sequence[str], tenant: str) -> dict[str, str]:
        """Apart from the JOB row, which every write of a job bills as a whole."""
        keys = [rows.key(job_id, "INPUT") for job_id in job_ids]
        return {
            rows.job_id(item): item["title"]["S"]
            for item in batch_get(self._client, self._table, keys, MOST_LARGE)
            if "title" in item and item["tenant"]["S"] == tenant and not rows.expired(item, self._clock())
        }

    def _job_rows(self, job_ids: Sequence[str]) -> Iterator[rows.Item]:
        keys = [rows.key(job_id, "JOB") for job_id in job_ids if len(job_id) <= rows.LONGEST_ID]
        return batch_get(self._client, self._table, keys)

    def _readable(self, item: rows.Item) -> Job | None:
        if rows.expired(item, self._clock()):
            return None
        try:
            with _damaged_if_unreadable(rows.job_id(item)):
                return rows.job_of(item)
        except DamagedJob as error:
            logger.error("%s", error)
            return None

    def _input_of(self, job: Job, item: rows.Item | None) -> JobInput:
        try:
            with _damaged_if_unreadable(job.id):
                return JobInput.model_validate_json(self._bodies.read(rows.plain(item or {})))
        except DamagedJob:
            if not job.status.finished:
                raise
            return JobInput(crew=job.crew, inputs={})  # the reason of the failure is still readable

    def _question_of(self, job: Job) -> Question:
        sk = rows.question_sk(job.question or "")
        with _damaged_if_unreadable(job.id):
            return Question.model_validate_json(self._bodies.read(rows.plain(self._get(job.id, sk)[sk])))

    def save(self, before: Job, after: Job) -> None:
        """Compare-and-set on the revision; on status and fence for rows of versions without revisions; and on the
        holder, for a job that was deleted and submitted again begins with the same numbers.
        """
        guard = {
            "revision": before.revision or None,
            "status": before.status.value,
            "fence": before.fence,
            "holder": before.holder,
        }
        old, new = rows.job_values(before), rows.job_values(after)
        # Always set the status: DynamoDB rejects an update without changes, and the condition must be checked.
        changed = {name: value for name, value in new.items() if value != old[name] or name == "status"}
        update, condition, names, values = _expressions(changed, guard)
        with unavailable_if_it_fails("table"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=rows.key(after.id, "JOB"),
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=rows.typed(values),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                existing = _existing(error)
                # If the row equals `after`, the write succeeded: its response was lost and the client retried it.
                if not existing or rows.job_values(rows.job_of(existing)) != new:
                    raise StaleWrite(f"job {after.id} was changed by another writer") from error

    def end_damaged(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        item = self._get(job_id, "JOB").get("JOB", {})
        try:
            with _damaged_if_unreadable(job_id):
                job = rows.job_of(item)
            if job.due_at is None or job.due_at > due_before:
                return False
            self.save(job, ended_unread(job, error, now))
        except DamagedJob:
            return self._patch_ended(job_id, error, now, due_before)
        except StaleWrite:
            return False
        return True

    def _patch_ended(self, job_id: str, error: Failure, now: datetime, due_before: datetime) -> bool:
        changed = {
            "status": Status.FAILED.value,
            "error": error.model_dump(),
            "finished_at": rows.milliseconds(now),
            **dict.fromkeys(("due_shard", "due_at", "unfinished", "holder", "lease_until", "not_before")),
        }
        update, _, names, values = _expressions(changed, {})
        finished = [status.value for status in Status if status.finished]
        values |= {f":{status}": status for status in finished} | {":before": rows.milliseconds(due_before)}
        condition = f"#due_at <= :before AND NOT #status IN ({', '.join(f':{status}' for status in finished)})"
        with unavailable_if_it_fails("table"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=rows.key(job_id, "JOB"),
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=rows.typed(values),
                )
            except ClientError as refused:
                _existing(refused)
                return False
        return True

    def delete_expired(self) -> int:
        return 0  # the table's TTL does so

    def delete(self, job: Job) -> None:
        """Cancelled first: such a job can't be retried, and is readable without its answer."""
        cancelled = job.model_copy(update={"status": Status.CANCELLED, "revision": job.revision + 1})
        self.save(job, cancelled)
        delete_all(self._client, self._table, self._bodies, cancelled)

    def put_answer(self, job: Job, answer: Answer) -> None:
        body = self._bodies.put(job.id, answer.model_dump_json())
        with unavailable_if_it_fails("table"):
            self._client.put_item(TableName=self._table, Item=rows.body_item(job, rows.result_sks(job)[0], body))

    def put_question(self, job: Job, question_id: str, question: Question) -> None:
        body = self._bodies.put(job.id, question.model_dump_json())
        with unavailable_if_it_fails("table"):
            self._client.put_item(TableName=self._table, Item=rows.body_item(job, rows.question_sk(question_id), body))

    def put_file(self, job: Job, file: File) -> None:
        self._bodies.put_file(job.id, file)

    def read_file(self, job: Job, file: File) -> bytes | str | None:
        return self._bodies.url_of_file(job.id, file)

    def put_events(self, job: Job, row: EventRow) -> None:
        now = int(self._clock().timestamp())
        with unavailable_if_it_fails("table"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=rows.events_item(job, row),
                    ConditionExpression="attribute_not_exists(pk) OR #count < :count OR expires_at <= :now",
                    ExpressionAttributeNames={"#count": "count"},
                    ExpressionAttributeValues=rows.typed({":count": len(row.entries), ":now": now}),
                )
            except ClientError as error:
                _existing(error)  # another holder has put as many or more

    def events(self, job: Job, after: int = 0) -> list[EventRow]:
        first = max(0, after + 1 - MOST_STORED)
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues=rows.typed(
                {":pk": rows.pk(job.id), ":first": rows.events_sk(first), ":last": rows.events_sk(job.log_from + 1)}
            ),
            ConsistentRead=True,
        )
        with unavailable_if_it_fails("table"):
            found = [item for page in pages for item in page["Items"]]
        now = self._clock()
        return [rows.events_of(item) for item in found if rows.is_events_of(job, item) and not rows.expired(item, now)]

    def put_call(self, job: Job, call: Call) -> Call:
        body = self._bodies.put(job.id, call.model_dump_json()) | {"entry": call.without_body().model_dump_json()}
        existing = self._put_once(rows.body_item(job, rows.call_sk(call), body))
        return call if existing is None else self._call_of(existing)

    def journal(self, job: Job) -> Iterator[Call]:
        return map(self._call_of, self._calls_of(job))

    def entries(self, job: Job) -> list[Call]:
        items = list(self._calls_of(job, ProjectionExpression="entry, expires_at"))
        if any("entry" not in item for item in items):  # rows of versions without `entry`
            return [call.without_body() for call in self.journal(job)]
        return [Call.model_validate_json(item["entry"]["S"]) for item in items]

    def _calls_of(self, job: Job, **only: Any) -> Iterator[rows.Item]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :calls)",
            ExpressionAttributeValues=rows.typed({":pk": rows.pk(job.id), ":calls": rows.CALLS}),
            ConsistentRead=True,
            **only,
        )
        with unavailable_if_it_fails("table"):
            for page in pages:
                yield from (item for item in page["Items"] if not rows.expired(item, self._clock()))

    def _call_of(self, item: rows.Item) -> Call:
        with _damaged_if_unreadable(rows.job_id(item)):
            return Call.model_validate_json(self._bodies.read(rows.plain(item)))

    def due(self, status: Status, moment: datetime) -> Iterator[str]:
        return due(self._client, self._table, status, moment)

    def unfinished(self, tenant: str, most: int) -> int:
        return unfinished(self._client, self._table, tenant, most)

    def listed(self, tenant: str, wanted: Filter, after: Position | None, limit: int) -> Page:
        found, last = listed(self._client, self._table, tenant, wanted, after, limit)
        jobs = self.jobs([rows.position(sort_key).job_id for sort_key in found], tenant)
        page = page_of(jobs, wanted, after, limit)  # in the meantime some may have become others
        return Page(page.jobs, None if last is None else rows.position(last))

    def _get(self, job_id: str, *sort_keys: str) -> dict[str, rows.Item]:
        """A job's rows by sort key. Raises Unavailable."""
        items = batch_get(self._client, self._table, [rows.key(job_id, sk) for sk in sort_keys])
        return {item["sk"]["S"]: item for item in items}


@contextmanager
def _damaged_if_unreadable(job_id: str) -> Iterator[None]:
    try:
        yield
    except CrewrelayError:
        raise
    except Exception as error:  # the row is not as we write it
        raise DamagedJob(f"The rows of job {job_id} can't be read: {type(error).__name__}.") from error


def _require_same_input(job: Job, existing: rows.Item | None) -> None:
    if existing is not None and rows.plain(existing)["input_digest"] != job.input_digest:
        raise IdempotencyConflict("This idempotency key was already used with a different body.")


def _existing(error: ClientError) -> rows.Item:
    """The item on which a condition failed, empty if there was none; re-raises any other error."""
    if error_code(error) != "ConditionalCheckFailedException":
        raise error
    return error.response.get("Item", {})  # type: ignore[return-value]


def _expressions(changed: dict[str, Any], guard: dict[str, Any]) -> tuple[str, str, dict[str, str], dict[str, Any]]:
    """Update and condition expressions with their names and values; None means that the attribute is absent."""
    names = {f"#{name}": name for name in (*changed, *guard)}
    sets = [f"#{name} = :new_{name}" for name, value in changed.items() if value is not None]
    removes = [f"#{name}" for name, value in changed.items() if value is None]
    update = " ".join(
        part for part in (f"SET {', '.join(sets)}" * bool(sets), f"REMOVE {', '.join(removes)}" * bool(removes)) if part
    )
    condition = " AND ".join(
        f"attribute_not_exists(#{name})" if value is None else f"#{name} = :old_{name}" for name, value in guard.items()
    )
    values = {f":new_{name}": value for name, value in changed.items()}
    values |= {f":old_{name}": value for name, value in guard.items()}
    return update, condition, names, values
