"""`crewrelay cancel`, `retry`, `delete` and `answer`."""

from typing import Annotated, Any

import typer

from crewrelay.cli.options import AsJson, JobId, Stack, Token, Url
from crewrelay.cli.output.text import say, say_json
from crewrelay.cli.terminal import fail


def cancel(job_id: JobId, as_json: AsJson = False, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Cancel a job: at once if it is pending, before its next call if it is running."""
    from crewrelay.cli.api.deployment import deployment

    with deployment(url, stack, token) as client:
        _say(client.cancel(job_id), as_json)


def retry(job_id: JobId, as_json: AsJson = False, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Retry a failed job: it resumes from where its journal ends."""
    from crewrelay.cli.api.deployment import deployment

    with deployment(url, stack, token) as client:
        _say(client.retry(job_id), as_json)


def delete(job_id: JobId, as_json: AsJson = False, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Delete a job that has ended, with its input, journal and result."""
    from crewrelay.cli.api.deployment import deployment

    with deployment(url, stack, token) as client:
        client.delete(job_id)
    say_json({"job_id": job_id, "deleted": True}) if as_json else say(f"job {job_id} is deleted")


def answer(
    job_id: JobId,
    feedback: Annotated[
        str | None, typer.Argument(help='What to say; "" accepts the output as it is.', show_default=False)
    ] = None,
    option: Annotated[str | None, typer.Option(help="One of the question's options.", show_default=False)] = None,
    as_json: AsJson = False,
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
) -> None:
    """Answer the question that a job waits for; without an answer, print the question."""
    from crewrelay.cli.api.deployment import deployment
    from crewrelay.cli.output.answer import say_question

    with deployment(url, stack, token) as client:
        asked = client.status(job_id)["waiting"]
        if asked is None:
            fail("the job does not wait for an answer: `crewrelay status` shows what it does")
        if feedback is not None or option is not None:
            _say(client.resume(job_id, {"id": asked["id"], "feedback": feedback, "option": option}), as_json)
        elif as_json:
            say_json(asked)
        else:
            say_question(asked, job_id)


def _say(job: dict[str, Any], as_json: bool) -> None:
    """A running job that was cancelled ends before its next call."""
    say_json(job) if as_json else say(f"job {job['job_id']} is {job['status']}")
