"""`crewrelay jobs`, `status`, `events`, `timeline` and `open`."""

from typing import Annotated, Any

import typer

from crewrelay.cli.options import AsJson, JobId, Stack, Token, Url
from crewrelay.cli.output import text
from crewrelay.cli.output.text import say, say_json, say_line, say_table
from crewrelay.cli.terminal import fail
from crewrelay.jobs.text import in_one_line

_LONGEST_TITLE, _LONGEST_REASON = 40, 100  # characters


def jobs(
    status: Annotated[str, typer.Option(help="Only jobs in this state, such as failed.", show_default=False)] = "",
    crew: Annotated[str, typer.Option(help="Only jobs of this crew.", show_default=False)] = "",
    batch: Annotated[str, typer.Option(help="Only jobs of this batch.", metavar="ID", show_default=False)] = "",
    created_after: Annotated[
        str, typer.Option(help="Only later ones, like 2026-01-02T03:04:05Z.", metavar="TIME", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 20,
    as_json: AsJson = False,
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
) -> None:
    """List jobs, newest first, and why one failed."""
    from crewrelay.cli.api.deployment import deployment

    with deployment(url, stack, token) as client:
        found = client.jobs(limit, status=status, crew=crew, batch=batch, created_after=created_after)
        if as_json:
            for job in found:
                say_line(job)
        else:
            say_table(("JOB", "STATUS", "CREW", "SUBMITTED (UTC)", "TITLE", "REASON"), map(_row, found))


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    why = f"{job['error']['type']}: {job['error']['message']}" if job["error"] else ""
    created = job["timestamps"]["created_at"][:19].replace("T", " ")
    return (
        job["job_id"],
        job["status"],
        job["crew"],
        created,
        job.get("title", "")[:_LONGEST_TITLE],
        why[:_LONGEST_REASON],
    )


def status(job_id: JobId, as_json: AsJson = False, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Show how far a job is and what it has cost; with --json all that is known, with the answer."""
    from crewrelay.cli.api.deployment import deployment

    with deployment(url, stack, token) as client:
        say_status(client.status(job_id), as_json)


def say_status(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return say_json(job)
    progress, receipt, times = job["progress"], job["receipt"], job["timestamps"]
    tokens = receipt["prompt_tokens"] + receipt["completion_tokens"]
    lines = {
        "job": job["job_id"],
        "status": job["status"],
        "crew": job["crew"],
        "inputs": ", ".join(f"{name}={value}" for name, value in job["inputs"].items()),
        "batch": job["batch"],
        "task": progress["current_task"]
        and f"{progress['current_task']} ({progress['current_agent']}), "
        f"{progress['completed_tasks']} of {progress['total_tasks']} done",
        "paid": text.usage(receipt["calls_paid"], tokens, receipt["cost_usd"]),
        "replayed": text.plural(receipt["calls_replayed"], "call") if receipt["calls_replayed"] else None,
        "attempts": job["attempts"],
        "submitted": _time(times["created_at"]),
        "started": _time(times["started_at"]),
        "finished": _time(times["finished_at"]),
        "reason": job["error"] and job["error"]["message"],
        "asks": job["waiting"] and f"{job['waiting']['message']}: crewrelay answer {job['job_id']}",
    }
    for name, value in lines.items():
        if value is not None:
            say(f"{name:10} {in_one_line(str(value))}")


def _time(at: str | None) -> str | None:
    return at and f"{at[:19].replace('T', ' ')} UTC"


def events(job_id: JobId, as_json: AsJson = False, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """List what has happened to a job."""
    from crewrelay.cli.api.deployment import deployment

    with deployment(url, stack, token) as client:
        found = client.all_events(job_id)
        if as_json:
            for event in found:
                say_line(event)
        else:
            say_table(("", "TIME (UTC)", "EVENT", "DETAILS"), map(_event, found))


def _event(event: dict[str, Any]) -> tuple[str, ...]:
    details = {name: value for name, value in event.items() if name not in ("number", "at", "event")}
    said = ", ".join(f"{name}={'unknown' if value is None else value}" for name, value in details.items())
    return str(event["number"]), event["at"][:23].replace("T", " "), event["event"], said


def timeline(job_id: JobId, as_json: AsJson = False, url: Url = "", stack: Stack = "", token: Token = "") -> None:
    """Draw when a job waited, ran and called its models; with --json its rows, in seconds from its submission."""
    from crewrelay.cli.api.deployment import deployment
    from crewrelay.cli.output.drawing import say_rows
    from crewrelay.cli.output.timeline import rows

    with deployment(url, stack, token) as client:
        job = client.status(job_id)
        found = rows(list(client.all_events(job_id)))
        if as_json:
            say_json({"job_id": job["job_id"], "status": job["status"], "rows": [row._asdict() for row in found]})
        else:
            say_rows(found, job)


def open_(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="Show this job.", show_default=False)] = "",
    as_json: AsJson = False,
    url: Url = "",
    stack: Stack = "",
) -> None:
    """Open the page in a browser, and print its address. No token is in it."""
    import webbrowser
    from urllib.parse import quote

    from crewrelay.cli.api.deployment import endpoint
    from crewrelay.cli.terminal import exit_on_error

    with exit_on_error():
        address = f"{endpoint(url, stack, '').url}/" + (f"#/jobs/{quote(job_id, safe='')}" if job_id else "")
    opened = webbrowser.open(address)
    say_json({"url": address, "opened": opened}) if as_json else say(address)
    if not opened:
        fail("there is no browser here: open the address above in one")
