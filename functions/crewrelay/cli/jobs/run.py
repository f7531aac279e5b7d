"""`crewrelay run`, `submit` and `watch`."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewrelay.cli.options import AsJson, JobId, Stack, Token, Url
from crewrelay.cli.output.text import say, say_json
from crewrelay.cli.terminal import Exit, fail, note

if TYPE_CHECKING:
    from crewrelay.cli.api.client import Client

Topic = Annotated[str, typer.Argument(help="What to research.", show_default=False)]
Language = Annotated[str, typer.Option(help="BCP 47 tag of the language to answer in.")]
Crew = Annotated[str, typer.Option(help="Name of the crew.", show_default="research")]
Inputs = Annotated[
    str, typer.Option(help="The crew's inputs as a JSON object, instead of TOPIC.", metavar="JSON", show_default=False)
]


def run(
    topic: Topic = "",
    language: Language = "en",
    crew: Crew = "",
    inputs: Inputs = "",
    as_json: AsJson = False,
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
    own: Annotated[bool, typer.Option("--own", help="On a temporary stack here, whatever else is configured.")] = False,
    aws: Annotated[bool, typer.Option("--aws", help="Run the temporary stack on DynamoDB, SQS and S3.")] = False,
) -> None:
    """Run one job and print its answer and sources.

    Without --url, --stack or a login, on a temporary stack on this machine.
    """
    from crewrelay.cli.api import logins
    from crewrelay.cli.api.deployment import deployment

    body = _body_of(topic, language, crew, inputs)
    if not (own or aws) and (url or stack or logins.read().url):
        with deployment(url, stack, token) as client:
            _follow(client, client.submit(body)["job_id"], as_json)
        return
    from crewrelay.local.own_stack import StackDidNotStart, own_stack

    note("starting the stack …")
    try:
        with own_stack(aws=aws) as address, deployment(address, "", "") as client:
            _follow(client, client.submit(body)["job_id"], as_json)
    except StackDidNotStart as failure:
        fail(str(failure))


def submit(
    topic: Topic = "",
    language: Language = "en",
    crew: Crew = "",
    inputs: Inputs = "",
    key: Annotated[
        str, typer.Option(help="Idempotency key: the same key returns the same job.", show_default=False)
    ] = "",
    as_json: AsJson = False,
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
) -> None:
    """Submit a job and print its id, once it is committed."""
    from crewrelay.cli.api.deployment import deployment

    body = _body_of(topic, language, crew, inputs)
    with deployment(url, stack, token) as client:
        accepted = client.submit(body, key or None)
    say_json(accepted) if as_json else say(accepted["job_id"])


def watch(job_id: JobId, as_json: AsJson = False, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Follow a job until it has ended or asks something, and print its answer and sources."""
    from crewrelay.cli.api.deployment import deployment

    with deployment(url, stack, token) as client:
        _follow(client, job_id, as_json)


def _follow(client: "Client", job_id: str, as_json: bool) -> None:
    from crewrelay.cli.jobs.follow import follow
    from crewrelay.cli.output import progress
    from crewrelay.cli.output.answer import say_answer, say_question

    note(f"job {job_id}")
    note(progress.summary(progress.shown(follow(client, job_id))))
    job = client.status(job_id, tries=4)
    if as_json:
        say_json(job)
    if job["status"] == "waiting":
        if not as_json:
            say_question(job["waiting"], job_id)
        raise typer.Exit(Exit.JOB_WAITS)
    if job["status"] != "completed":
        why = f": {job['error']['message']}" if job["error"] else ""
        fail(f"the job {'failed' if job['status'] == 'failed' else 'was ' + job['status']}{why}", Exit.JOB_FAILED)
    if not as_json:
        say_answer(client.result(job), job)


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
