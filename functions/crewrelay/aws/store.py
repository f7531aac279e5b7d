"""The job store on one DynamoDB table. Every transition is one conditional write of what changed."""

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from crewrelay.aws import rows
from crewrelay.aws.clients import error_code, unavailable_if_it_fails
from crewrelay.jobs.answer import Answer
from crewrelay.jobs.errors import AnswerTooLarge, IdempotencyConflict, StaleWrite, Unavailable
from crewrelay.jobs.job import Job, JobInput, Status
from crewrelay.jobs.ports import Clock, JobRecord

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LONGEST_ID = 64  # characters; DynamoDB refuses keys over 2 KB
_LARGEST_ROW = 390_000  # bytes; DynamoDB's limit is 400 KB with names and keys


class DynamoJobStore:
    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def create(self, job: Job, job_input: JobInput) -> Job:
        """The INPUT row first, then the JOB row, which is the commit. Both writes may be repeated."""
        # The same input is put again, so that it lives as long as the job that comes after it.
        self._put_once(rows.input_item(job, job_input), job, or_if="input_digest = :digest")
        standing = self._put_once(rows.key(job.id, "JOB") | rows.typed(rows.job_values(job)), job)
        return job if standing is None else rows.job_of(standing)

    def _put_once(self, item: rows.Item, job: Job, or_if: str = "") -> rows.Item | None:
        """Put the item unless one stands there that has not expired; then return that one.

        Raises IdempotencyConflict if the standing one came with another input.
        """
        condition = " OR ".join(filter(None, ("attribute_not_exists(pk)", "expires_at <= :now", or_if)))
        values = {":now": int(self._clock().timestamp())} | ({":digest": job.input_digest} if or_if else {})
        with unavailable_if_it_fails("table"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=rows.typed(values),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
                return None
            except ClientError as error:
                standing = _standing(error)
        if rows.plain(standing)["input_digest"] != job.input_digest:
            raise IdempotencyConflict("This idempotency key was already used with another body.")
        return standing

    def load(self, job_id: str) -> JobRecord | None:
        """Both rows in one round trip; the answer's only once there is one."""
        if len(job_id) > _LONGEST_ID:
            return None
        found = self._get(job_id, "JOB", "INPUT")
        if "JOB" not in found or rows.expired(found["JOB"], self._clock()):
            return None
        job = rows.job_of(found["JOB"])
        answer = None
        if job.status is Status.COMPLETED:
            sk = rows.result_sk(job.fence)
            answer = rows.answer_of(self._get(job_id, sk)[sk])
        return JobRecord(job, rows.input_of(found["INPUT"]), answer)

    def save(self, before: Job, after: Job) -> None:
        """Compare and set on status and fence, and when a lease changes hands on the lease itself."""
        guard: dict[str, Any] = {"status": before.status.value, "fence": before.fence}
        if after.fence != before.fence:
            guard["lease_until"] = rows.job_values(before)["lease_until"]
        old, new = rows.job_values(before), rows.job_values(after)
        # The status is always written: an update of nothing would be refused, and its condition not checked.
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
                standing = _standing(error)
                # The reply to our own write was lost and the client repeated it: it did happen.
                if not standing or rows.job_values(rows.job_of(standing)) != new:
                    raise StaleWrite(f"job {after.id} moved on") from error

    def put_answer(self, job: Job, answer: Answer) -> None:
        item = rows.answer_item(job, answer)
        size = len(item["body"]["B"])
        if size > _LARGEST_ROW:
            raise AnswerTooLarge(f"The answer takes {size:,} bytes compressed; {_LARGEST_ROW:,} fit.")
        with unavailable_if_it_fails("table"):
            self._client.put_item(TableName=self._table, Item=item)

    def _get(self, job_id: str, *sort_keys: str) -> dict[str, rows.Item]:
        """A job's rows by sort key. Raises Unavailable if the table, throttled, leaves some out."""
        keys = [rows.key(job_id, sk) for sk in sort_keys]
        with unavailable_if_it_fails("table"):
            reply = self._client.batch_get_item(RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}})
        if reply.get("UnprocessedKeys"):
            raise Unavailable("The table is throttled.")
        return {item["sk"]["S"]: item for item in reply["Responses"][self._table]}


def _standing(error: ClientError) -> rows.Item:
    """The item that made a condition fail, empty if there was none; any other error is raised again."""
    if error_code(error) != "ConditionalCheckFailedException":
        raise error
    return error.response.get("Item", {})  # type: ignore[return-value]


def _expressions(changed: dict[str, Any], guard: dict[str, Any]) -> tuple[str, str, dict[str, str], dict[str, Any]]:
    """Update and condition expression with their names and values; a value of None means: not there."""
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
