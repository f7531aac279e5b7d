"""The error tree. `code` is stable and public, `http` is the response's status, `retryable` says whether
the same request may succeed later, `remedy` tells the caller what to do.

CrewrelayError
├── InvalidRequest       422  the request breaks a rule of its schema
├── Unauthenticated      401  the request has no valid token
├── MissingScope         403  the token lacks the required scope
├── ForeignCollection    403  the token may not search the collection
├── UnknownJob           404  no such job for this tenant
├── UnknownBatch         404  no such batch for this tenant
├── UnknownFile          404  the job has no such file
├── UnknownCrew          404  this deployment has no such crew
├── UnknownToken         404  no token has this id
├── TooManyJobs          429  the tenant's limit of unfinished jobs or files is reached
├── IdempotencyConflict  422  the key was used with a different body
├── InvalidUpload        422  a batch's file was refused as a whole
├── RunFailed            502  the crew ended without an answer
├── StillRunning         503  the crew is at work, and the protocol can't hand the job over
├── AnswerAwaited        422  the job waits for a human, and the protocol can't ask one
├── JobFinished          409  the job has ended in a way that does not allow this
├── JobUnfinished        409  the job must have ended for this
├── NotWaiting           409  the job does not wait for this answer
├── AlreadyAnswered      409  the question has another answer already
├── StaleWrite           409  conditional write refused: lease lost, job cancelled or finished
├── BudgetExceeded       500  the job has used up a limit on calls or tokens
├── AttemptsExhausted    500  too many attempts in a row made no progress
├── CrewStuck            500  the crew did not stop when told to, several times in a row
├── Overdue              500  the job did not end in time
├── Unanswered           500  nobody answered the job's question in time
├── InvalidCrew          500  the crew's files are wrong, or it can't run durably
├── Misconfigured        500  a setting is missing or wrong
├── RetrievalError       500  the passages can't be searched or changed
│   ├── RetrievalUnavailable   503  the store or the embedder did not answer
│   ├── RetrievalUnauthorised  500  the store refused the key
│   ├── RetrievalMisconfigured 500  the store is not what the settings say
│   ├── CollectionMissing      500  there is no such collection
│   └── EmbedderMismatch       500  the collection holds another embedder's vectors
├── DamagedJob           500  the job's row or input can't be read
└── Unavailable          503  a dependency did not answer: table, queue or crew process
    └── ServiceRefused   503  it answered with a refusal: credentials, policy, missing resource
"""

from collections.abc import Sequence
from typing import ClassVar


class CrewrelayError(Exception):
    """Base of the tree."""

    code: ClassVar[str] = "internal_error"
    http: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    outage: ClassVar[bool] = False  # a dependency failed: not the job's fault
    remedy: ClassVar[str] = "This is an error of the service: report the job id to its operator."


class InvalidRequest(CrewrelayError):
    """The request breaks a rule of its schema; the message names the field and the rule."""

    code = "invalid_request"
    http = 422
    remedy = "Correct the named fields and send the request again."


class Unauthenticated(CrewrelayError):
    """The request has no valid token."""

    code = "unauthenticated"
    http = 401
    remedy = "Send the header Authorization: Bearer TOKEN with a token that is neither expired nor revoked."


class MissingScope(CrewrelayError):
    """The token is valid but lacks the required scope."""

    code = "missing_scope"
    http = 403
    remedy = "Use a token with this scope; the operator creates one with `crewrelay token create`."

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs a token with the scope {scope}.")
        self.scope = scope


class ForeignCollection(CrewrelayError):
    """The token may not search the collection that the request names, whether there is one or not."""

    code = "foreign_collection"
    http = 403
    remedy = (
        "Name another collection, or none; or use a token with this one: the operator creates it with "
        "`crewrelay token create --collection`."
    )

    def __init__(self, name: str, permitted: Sequence[str]) -> None:
        others = f"only {', '.join(permitted)}" if permitted else "only the deployment's own, without naming it"
        super().__init__(f"This token may not search the collection {name}, {others}.")


class TooManyJobs(CrewrelayError):
    """The tenant's limit of unfinished jobs, or of files that are taken at once, is reached."""

    code = "too_many_jobs"
    http = 429
    retryable = True
    remedy = (
        "Wait until some have ended, or cancel some; then send the same request again after the seconds in Retry-After."
    )


class UnknownToken(CrewrelayError):
    """No token has this id: never created, or expired."""

    code = "unknown_token"
    http = 404
    remedy = "`crewrelay token list` shows the tokens that exist."


class UnknownJob(CrewrelayError):
    """No such job for this tenant: never submitted, another tenant's, or expired."""

    code = "unknown_job"
    http = 404
    remedy = "Check the job id that the submission returned; results are kept for 30 days."


class UnknownBatch(CrewrelayError):
    """No such batch for this tenant: never submitted, another tenant's, or expired."""

    code = "unknown_batch"
    http = 404
    remedy = "Check the batch id that the submission returned; batches are kept for 30 days."


class UnknownCrew(CrewrelayError):
    """This deployment has no crew of this name."""

    code = "unknown_crew"
    http = 404
    remedy = "GET /crewai/crews lists the crews of this deployment."


class UnknownFile(CrewrelayError):
    """The job's answer has no file of this number, or it was too large to be kept."""

    code = "unknown_file"
    http = 404
    remedy = "The job's status lists its files once it is completed."


class IdempotencyConflict(CrewrelayError):
    """The idempotency key was already used with a different body."""

    code = "idempotency_conflict"
    http = 422
    remedy = "Use a new key for a new request, or repeat the first request unchanged."


class InvalidUpload(CrewrelayError):
    """The file of a batch was refused as a whole; the message says why."""

    code = "invalid_upload"
    http = 422
    remedy = "Correct the file, and create a new batch for it, with another Idempotency-Key."


class RunFailed(CrewrelayError):
    """The crew ended without an answer; the job keeps the reason."""

    code = "run_failed"
    http = 502
    remedy = "The job's status has the reason."


class StillRunning(CrewrelayError):
    """The crew is at work when the answer is due, in a protocol that can't hand the job over."""

    code = "still_running"
    http = 503
    retryable = True
    remedy = "Send the same request again after the seconds in Retry-After: it waits on for the same job."


class AnswerAwaited(CrewrelayError):
    """The job waits for a human, in a protocol that can't ask one."""

    code = "answer_awaited"
    http = 422
    remedy = "Answer with POST /crewai/jobs/{job_id}/resume, then send the same request again."


class JobFinished(CrewrelayError):
    """The job has ended in a state that does not allow the request, such as cancelling a completed job."""

    code = "job_finished"
    http = 409
    remedy = "Read the job's status; submit a new job to run it again."


class JobUnfinished(CrewrelayError):
    """The job has not ended, which the request needs, such as deleting it."""

    code = "job_unfinished"
    http = 409
    remedy = "Cancel the job first, or wait for its end; then send the same request again."


class NotWaiting(CrewrelayError):
    """The job does not wait, or waits for the answer to another question."""

    code = "not_waiting"
    http = 409
    remedy = "Read the job's status: `waiting` has the question that it waits for, with its id."


class AlreadyAnswered(CrewrelayError):
    """The question has another answer, which the job goes on with, or nobody answered it in time."""

    code = "already_answered"
    http = 409
    remedy = "The first answer counts; read the job's status."


class StaleWrite(CrewrelayError):
    """Conditional write refused: the lease was lost, or the job was cancelled or finished."""

    code = "stale_write"
    http = 409
    remedy = "Read the job again."


class BudgetExceeded(CrewrelayError):
    """The job has used up a limit on calls or tokens; the message says which."""

    code = "budget_exceeded"
    remedy = "Ask for less, or raise the named limit and retry the job: it continues where it stopped."


class AttemptsExhausted(CrewrelayError):
    """Too many attempts in a row journaled nothing new."""

    code = "attempts_exhausted"
    remedy = "Fix the cause and retry the job: it continues where it stopped."


class CrewStuck(CrewrelayError):
    """The crew did not stop when told to, several times in a row; the message says where it was."""

    code = "crew_stuck"
    remedy = "Add a limit to the code that the message names, then retry the job: it continues where it stopped."


class Overdue(CrewrelayError):
    """The job did not end within its maximum age or running time."""

    code = "overdue"
    remedy = "Check that the worker runs and keeps up, then retry the job: it continues where it stopped."


class Unanswered(CrewrelayError):
    """Nobody answered the job's question in time, and it has no default."""

    code = "unanswered"
    remedy = "Retry the job: it asks again, and continues where it stopped."


class InvalidCrew(CrewrelayError):
    """The crew's files are wrong, or use what would make a resumed run another one; the message says where and what."""

    code = "invalid_crew"
    remedy = "Correct the crew as the message says, deploy it and retry the job."


class Misconfigured(CrewrelayError):
    """A setting is missing or wrong; the message says which and what it should be."""

    code = "misconfigured"
    remedy = "Correct the named setting and start again."


class Unavailable(CrewrelayError):
    """A dependency did not answer: the table, the queue or the crew process."""

    code = "unavailable"
    http = 503
    retryable = True
    outage = True
    remedy = "Send the same request again after the seconds in Retry-After."


class ServiceRefused(Unavailable):
    """A dependency refused the request. That is not the job's fault and may pass: credentials are being rotated, or an
    IAM policy has not propagated yet.
    """

    code = "service_refused"
    remedy = "Check that the service's settings and role allow what the message names; the request can be repeated."


class DamagedJob(CrewrelayError):
    """The job's row or its input can't be read. The sweeper ends such a job once it has reached its maximum age."""

    code = "damaged_job"
    remedy = "Submit the work again. The operator finds the row in the table by the job's id."


class RetrievalError(CrewrelayError):
    """The passages can't be searched or changed."""

    code = "retrieval_failed"


class RetrievalUnavailable(RetrievalError):
    """The passage store or the embedder did not answer in time."""

    code = "retrieval_unavailable"
    http = 503
    retryable = True
    outage = True
    remedy = "It is retried automatically. If it persists, check that the service in the message can be reached."


class RetrievalUnauthorised(RetrievalError):
    """The passage store refused the API key, or the key may not do this."""

    code = "retrieval_unauthorised"
    remedy = "Check WEAVIATE_API_KEY, and that this key may do what the message names."


class RetrievalMisconfigured(RetrievalError):
    """The passage store differs from the settings; the message says how."""

    code = "retrieval_misconfigured"
    remedy = "Correct what the message names."


class CollectionMissing(RetrievalError):
    """The collection does not exist."""

    code = "collection_missing"
    remedy = "Fill it with `crewrelay ingest PATH… --collection NAME`, or name another one."


class EmbedderMismatch(RetrievalError):
    """The collection was filled by another embedder, whose vectors can't be compared with this one's."""

    code = "embedder_mismatch"
    remedy = "Use the embedder that the message names, or fill a new collection."
