"""What clients ask of a crew as an agent, in the JSON of 1.0, whatever the binding. Each method has its own scope."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from fastapi import Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from crewrelay.http.edge import received_at
from crewrelay.http.links import base_url, file_urls
from crewrelay.http.protocols.a2a import tasks
from crewrelay.http.protocols.a2a.card import require_crew
from crewrelay.http.protocols.a2a.errors import (
    ExtendedAgentCardNotConfigured,
    TaskNotCancelable,
    UnsupportedOperation,
)
from crewrelay.http.protocols.a2a.listing import TaskPage, listed, token_after
from crewrelay.http.protocols.a2a.requests import Listing, Message, OneTask, Send, parsed
from crewrelay.http.protocols.a2a.streams import updates
from crewrelay.http.protocols.runs import checked, ended
from crewrelay.http.services import Services
from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.errors import AlreadyAnswered, InvalidRequest, JobFinished, NotWaiting, UnknownJob
from crewrelay.jobs.log_keys import add_log_keys
from crewrelay.jobs.ports import JobRecord, record_of_tenant
from crewrelay.jobs.records.job import Job, Status
from crewrelay.jobs.records.questions import Feedback, Question
from crewrelay.jobs.records.webhook import Webhook

Params = Mapping[str, Any]

# Characters of tasks after which a page ends. The last one may be as long, and Lambda passes on 6 MB of escaped text.
_WINDOW = 1_000_000


class Agent(NamedTuple):
    """A crew, for the caller of one request, which must be answered by `end`."""

    services: Services
    crew: str
    caller: Caller
    request: Request
    end: datetime

    @classmethod
    def of(cls, services: Services, crew: str, caller: Caller, request: Request) -> "Agent":
        require_crew(crew)
        long_poll = services.long_poll
        return cls(services, crew, caller, request, received_at(request, long_poll.clock) + long_poll.timeout)

    async def send(self, params: Params) -> dict[str, Any]:
        """The task once it has ended or asks for input, or as it is at the end of the time."""
        asked = parsed(Send, params)
        job = await run_in_threadpool(self._accept, asked)
        if asked.configuration.return_immediately or not asked.configuration.blocking:
            record = await run_in_threadpool(record_of_tenant, self.services.store, job.tenant, job.id)
        else:
            record = await ended(self.services, job, self.end)
        return {"task": await run_in_threadpool(self._task, record, asked.configuration.history_length)}

    async def stream(self, params: Params) -> AsyncIterator[dict[str, Any]]:
        """The task, and what happens to it until it has ended or asks for input."""
        asked = parsed(Send, params)
        job = await run_in_threadpool(self._accept, asked)
        record = await run_in_threadpool(record_of_tenant, self.services.store, job.tenant, job.id)
        return self._updates(record, asked.configuration.history_length, until_waiting=True)

    async def subscribe(self, params: Params) -> AsyncIterator[dict[str, Any]]:
        """The task, and what happens to it until it has ended."""
        record = await run_in_threadpool(self.record, parsed(OneTask, params).id)
        if record.job.status.finished:
            raise UnsupportedOperation(f"The task has ended: it is {record.job.status}.")
        return self._updates(record, None, until_waiting=False)

    async def get(self, params: Params) -> dict[str, Any]:
        asked = parsed(OneTask, params)
        record = await run_in_threadpool(self.record, asked.id)
        return await run_in_threadpool(self._task, record, asked.history_length)

    async def find(self, params: Params) -> dict[str, Any]:
        self.caller.require(Scope.READ)
        asked = parsed(Listing, params)
        page = await run_in_threadpool(listed, self.services.store, self.caller.tenant, self.crew, asked)
        found, token = await run_in_threadpool(self._listed, page, asked)
        return {
            "tasks": sorted(found, key=lambda task: str(task["status"]["timestamp"]), reverse=True),
            "nextPageToken": token,
            "pageSize": asked.page_size,
            "totalSize": len(found) + bool(token),
        }

    async def cancel(self, params: Params) -> dict[str, Any]:
        self.caller.require(Scope.ADMIN)
        task_id = parsed(OneTask, params).id

        def cancelled() -> JobRecord:
            self._of_crew(task_id)
            try:
                return self.services.intervention.cancel(self.caller.tenant, task_id)
            except JobFinished as error:
                raise TaskNotCancelable(str(error)) from None

        return await run_in_threadpool(lambda: self._task(cancelled(), None))

    async def extended_card(self, _: Params) -> dict[str, Any]:
        raise ExtendedAgentCardNotConfigured("This agent has no extended card.")

    def _accept(self, asked: Send) -> Job:
        """The job that the message begins, or whose question it answers. The same message again changes nothing."""
        self.caller.require(Scope.RUN)
        message, webhook = asked.message, asked.configuration.webhook(base_url(self.request))
        if message.task_id:
            return self._answer(message.task_id, message, webhook)
        job_input = checked(self.caller, self.crew, message.inputs(self.crew))
        if webhook:
            job_input = job_input.model_copy(update={"webhooks": (webhook,)})
        add_log_keys(correlation_id=message.context_id)
        # Clients are not all careful to make ids unique: only the same content is the same message.
        key = f"a2a\n{self.crew}\n{message.context_id or ''}\n{message.message_id}\n{job_input.digest()}"
        return self.services.submission.submit(self.caller.tenant, job_input, key)

    def _answer(self, task_id: str, message: Message, webhook: Webhook | None) -> Job:
        if webhook:
            self.caller.require(Scope.WEBHOOKS)  # as its creation by itself does
        record = self._of_crew(task_id)
        job = record.job
        if message.context_id not in (None, tasks.context_of(job)):
            raise InvalidRequest("contextId: is not that of the task; leave it out.")
        feedback = _feedback(message, record.question)
        if job.status is not Status.WAITING:
            if _heard(feedback) in map(_heard, tasks.answers_of(self.services.store, job)[-1:]):
                return job  # the message was sent again
            raise UnsupportedOperation(f"The task does not wait for a message: it is {job.status}.")
        if webhook:
            self.services.deliveries.add(job.tenant, job.id, webhook)
        question = message.metadata.get("question", job.question)
        try:
            return self.services.intervention.answer(job.tenant, job.id, str(question), feedback).job
        except (NotWaiting, AlreadyAnswered) as error:
            raise UnsupportedOperation(str(error)) from None

    def record(self, task_id: str) -> JobRecord:
        """Raises MissingScope, UnknownJob."""
        self.caller.require(Scope.READ)
        return self._of_crew(task_id)

    def _of_crew(self, task_id: str) -> JobRecord:
        """Raises UnknownJob, also for the job of another crew."""
        record = record_of_tenant(self.services.store, self.caller.tenant, task_id)
        if record.job.crew != self.crew:
            raise UnknownJob(f"There is no job {task_id}.")
        return record

    def _task(self, record: JobRecord, history_length: int | None) -> dict[str, Any]:
        history = tasks.history_of(self.services.store, record, history_length)
        return tasks.task_of(record.job, record, file_urls(self.request, record.job.id), history)

    def _listed(self, page: TaskPage, asked: Listing) -> tuple[list[dict[str, Any]], str]:
        """The tasks of the page, as many as fit into an answer, and the token of those that follow."""
        if not asked.include_artifacts and not asked.history_length:
            return [tasks.task_of(job, None, file_urls(self.request, job.id), []) for job in page.jobs], page.token
        found, size = list[dict[str, Any]](), 0
        for number, job in enumerate(page.jobs, 1):
            if record := self.services.store.load(job.id, job.tenant):
                task = self._task(record, asked.history_length)
                if not asked.include_artifacts:
                    task.pop("artifacts", None)
                found.append(task)
                size += len(json.dumps(task))
            if size > _WINDOW and number < len(page.jobs):
                return found, token_after(job)
        return found, page.token

    async def _updates(
        self, record: JobRecord, history_length: int | None, *, until_waiting: bool
    ) -> AsyncIterator[dict[str, Any]]:
        yield {"task": await run_in_threadpool(self._task, record, history_length)}
        url_of = file_urls(self.request, record.job.id)
        async for update in updates(self.services, record.job, self.end, url_of, until_waiting=until_waiting):
            yield update


def _feedback(message: Message, question: Question | None) -> Feedback:
    """The text of the message, or the option of the question that it names. Raises InvalidRequest."""
    text = message.text()
    if text is None or any(part.data is not None for part in message.parts):
        raise InvalidRequest("parts: the answer to a question is text.")
    for option in question.options if question else ():
        if option.casefold() == text.strip().casefold():
            return Feedback(option=option)
    try:
        return Feedback(text=text)
    except ValidationError as error:
        raise InvalidRequest(f"parts: {error.errors()[0]['msg']}") from None


def _heard(feedback: Feedback) -> str:
    return (feedback.option or feedback.text).strip().casefold()
