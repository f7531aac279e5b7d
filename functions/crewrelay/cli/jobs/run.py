"""The commands about jobs of a deployment or of `crewrelay serve`, and `crewrelay doctor`."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewrelay.cli.machine.data import Data, folder_of
from crewrelay.cli.terminal import exit_on_error, fail

if TYPE_CHECKING:
    from crewrelay.cli.api.client import Client
    from crewrelay.health import Check

_LONGEST_REASON = 100  # characters of a line
HERE = "http://127.0.0.1:8000"  # where `make serve` listens

Url = Annotated[
    str,
    typer.Option(
        envvar="CREWRELAY_URL", help="The API's address; default: that of --stack, else of `crewrelay serve`."
    ),
]
Stack = Annotated[
    str,
    typer.Option(
        envvar="CREWRELAY_STACK", help="The CloudFormation stack to take the address from (its output ApiUrl)."
    ),
]
Token = Annotated[
    str, typer.Option(envvar="CREWRELAY_TOKEN", help="Prefer the variable: other users can see command lines.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB_ID")]
Topic = Annotated[str, typer.Argument(help="What to research.", show_default=False)]
Language = Annotated[str, typer.Option(help="BCP 47 tag of the language to answer in.")]
Crew = Annotated[str, typer.Option(help="Name of the crew.", show_default="research")]
Inputs = Annotated[str, typer.Option(help="The crew's inputs as a JSON object, instead of TOPIC.", metavar="JSON")]


def run(
    topic: Topic = "",
    language: Language = "en",
    crew: Crew = "",
    inputs: Inputs = "",
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
    aws: Annotated[bool, typer.Option("--aws", help="Run the temporary stack on DynamoDB, SQS and S3.")] = False,
) -> None:
    """Run one job and print its answer and sources; without --url or --stack, on a temporary local stack."""
    body = _body_of(topic, language, crew, inputs)
    if url or stack:
        with _deployment(url, stack, token) as deployment:
            _follow(deployment, deployment.submit(body))
    else:
        from crewrelay.local.own_stack import StackDidNotStart, own_stack

        typer.echo("starting the stack …", err=True)
        try:
            with own_stack(aws=aws) as address, _deployment(address, "", "") as deployment:
                _follow(deployment, deployment.submit(body))
        except StackDidNotStart as failure:
            fail(str(failure))


def submit(
    topic: Topic = "",
    language: Language = "en",
    crew: Crew = "",
    inputs: Inputs = "",
    key: Annotated[str, typer.Option(help="Idempotency key: the same key returns the same job.")] = "",
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
) -> None:
    """Submit a job and print its id."""
    with _deployment(url, stack, token) as deployment:
        typer.echo(deployment.submit(_body_of(topic, language, crew, inputs), key or None))


def status(job_id: JobId, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Print a job's status as JSON."""
    with _deployment(url, stack, token) as deployment:
        _print(deployment.status(job_id))


def jobs(
    status: Annotated[str, typer.Option(help="Only jobs in this state, such as failed.")] = "",
    crew: Annotated[str, typer.Option(help="Only jobs of this crew.")] = "",
    created_after: Annotated[str, typer.Option(help="Only later ones, like 2026-01-02T03:04:05Z.")] = "",
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per line.")] = False,
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
) -> None:
    """List jobs, newest first: id, status, crew, time of submission, and why one failed."""
    with _deployment(url, stack, token) as deployment:
        for job in deployment.jobs(limit, status=status, crew=crew, created_after=created_after):
            typer.echo(json.dumps(job, ensure_ascii=False) if as_json else _line(job))


def _line(job: dict[str, Any]) -> str:
    created = f"{job['timestamps']['created_at'][:19]}Z"
    why = f"{job['error']['type']}: {job['error']['message']}" if job["error"] else ""
    return f"{job['job_id']:36}  {job['status']:9}  {job['crew']:16}  {created}  {why[:_LONGEST_REASON]}".rstrip()


def watch(job_id: JobId, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Wait for a job to end, and print its answer and sources."""
    with _deployment(url, stack, token) as deployment:
        _follow(deployment, job_id)


def events(job_id: JobId, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Print what has happened to a job, an event per line, as JSON."""
    with _deployment(url, stack, token) as deployment:
        for event in deployment.events(job_id):
            typer.echo(json.dumps(event, ensure_ascii=False))


def cancel(job_id: JobId, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Cancel a job: at once if it is pending, before its next call if it is running."""
    with _deployment(url, stack, token) as deployment:
        _print(deployment.cancel(job_id))


def retry(job_id: JobId, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Retry a failed job: it resumes from where its journal ends."""
    with _deployment(url, stack, token) as deployment:
        _print(deployment.retry(job_id))


def delete(job_id: JobId, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Delete a job that has ended, with its input, journal and result."""
    with _deployment(url, stack, token) as deployment:
        deployment.delete(job_id)
    typer.echo(f"job {job_id} is deleted", err=True)


def answer(
    job_id: JobId,
    feedback: Annotated[
        str | None, typer.Argument(help='What to say; "" accepts the output as it is.', show_default=False)
    ] = None,
    option: Annotated[str | None, typer.Option(help="One of the question's options.")] = None,
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
) -> None:
    """Answer the question that a job waits for; without an answer, print the question."""
    with _deployment(url, stack, token) as deployment:
        asked = deployment.status(job_id)["waiting"]
        if asked is None:
            fail("the job does not wait for an answer: `crewrelay status` shows what it does")
        if feedback is None and option is None:
            return _print(asked)
        given = {"feedback": feedback, "option": option}
        _print(deployment.resume(job_id, {"id": asked["id"], **given}))


def doctor(url: Url = "", stack: Stack = "", token: Token = "", data: Data = None) -> None:
    """Check every part that a job needs; say what is wrong and how to fix it.

    Model, crews and collection are checked by the settings in this environment, the rest in the folder or the
    deployment.
    """
    from crewrelay.cli.operate import checks as doctor
    from crewrelay.crews.environment import CREW_ENVIRONMENT

    os.environ.update(CREW_ENVIRONMENT)  # before CrewAI is imported
    checks: list[Check] = []
    with ExitStack() as until_done:
        if folder := folder_of(stack, data):
            from crewrelay.sqlite.health import folder_checks

            checks += folder_checks(folder)
        if stack:
            from crewrelay.aws import health

            checks += health.stack_checks(stack)
        if url or stack:
            checks += doctor.api_checks(until_done.enter_context(_deployment(url, stack, token)))
        faults = 0
        for finding in doctor.diagnose([*checks, *doctor.crew_checks()]):
            faults += not finding.ok
            typer.echo(f"{'ok' if finding.ok else 'WRONG':5}  {finding.what:22}  {finding.detail}")
    if faults:
        raise typer.Exit(1)


def _body_of(topic: str, language: str, crew: str, inputs: str) -> dict[str, Any]:
    if not inputs:
        if not topic:
            fail("there is nothing to do: give a TOPIC, or --crew and --inputs")
        return {"topic": topic, "language": language} | ({"crew": crew} if crew else {})
    if topic:
        fail("give a TOPIC or --inputs, not both")
    if not crew:
        fail("--inputs needs a crew: name it with --crew")
    try:
        given = json.loads(inputs)
    except ValueError as error:
        fail(f"--inputs is not valid JSON: {error}")
    if not isinstance(given, dict):
        fail('--inputs must be a JSON object, like \'{"topic": "neural networks"}\'')
    return {"crew": crew, "inputs": given}


@contextmanager
def _deployment(url: str, stack: str, token: str) -> "Iterator[Client]":
    from crewrelay.cli.api.client import Client, Refused

    with exit_on_error():
        if stack and not url:
            from crewrelay.aws import clients

            url = clients.output(stack, "ApiUrl")
        try:
            with closing(Client(url or HERE, token)) as deployment:
                yield deployment
        except Refused as refused:
            fail(str(refused))


def _follow(deployment: "Client", job_id: str) -> None:
    typer.echo(f"job {job_id}", err=True)
    job: dict[str, Any] = {}
    for job in deployment.follow(job_id):
        typer.echo(f"{job['status']} {job['timestamps']['finished_at'] or _task(job)}".rstrip(), err=True)
        if job["status"] == "pending" and job["error"]:
            typer.echo(f"the last attempt failed and will be retried: {job['error']['message']}", err=True)
    if job["status"] == "waiting":
        _print(job["waiting"])
        fail(f"the job waits for an answer: crewrelay answer {job_id} …")
    if job["status"] != "completed":
        fail(f"the job {job['status']}: {job['error'] and job['error']['message']}")
    # Print as plain text: quotations must stay verbatim.
    typer.echo(f"\n{deployment.result(job)}\n")
    for source in job["sources"]:
        typer.echo(f"[{source['number']}] {source['title']} ({source['url']})\n“{source['excerpt']}”\n")


def _task(job: dict[str, Any]) -> str:
    progress = job["progress"]
    if job["status"] != "running" or not progress["current_task"]:
        return ""
    number = min(progress["completed_tasks"] + 1, progress["total_tasks"])
    return f"task {number} of {progress['total_tasks']}: {progress['current_task']} ({progress['current_agent']})"


def _print(job: dict[str, Any]) -> None:
    typer.echo(json.dumps(job, ensure_ascii=False, indent=2))
