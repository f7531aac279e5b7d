"""`crewrelay batch`."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from crewrelay.cli.options import AsJson, Stack, Token, Url
from crewrelay.cli.terminal import Exit, fail, note

if TYPE_CHECKING:
    from crewrelay.cli.batch.results import Results


def batch(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="topics.csv, .jsonl (a request per line) or .txt (a topic per line).", dir_okay=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The file of results, as JSON Lines.", show_default="FILE.results.jsonl", dir_okay=False),
    ] = None,
    language: Annotated[str, typer.Option(help="Of lines that name none.")] = "en",
    crew: Annotated[str, typer.Option(help="Of lines that name none.", show_default="research")] = "",
    again: Annotated[
        str,
        typer.Option(metavar="NAME", help="Run lines that ran before once more, as other jobs.", show_default=False),
    ] = "",
    as_json: AsJson = False,
    url: Url = "",
    stack: Stack = "",
    token: Token = "",
) -> None:
    """Submit every line of a file, and write the results to another as they come.

    Stop it whenever you like, and run the same command again: it goes on, and no line becomes two jobs.
    """
    from crewrelay.cli.api.deployment import deployment
    from crewrelay.cli.batch import items
    from crewrelay.cli.batch.results import Results
    from crewrelay.cli.batch.upload import Upload
    from crewrelay.cli.output.batch_progress import BatchProgress

    lines = items.read(file, language, crew)
    chunks = items.chunks(lines)
    content = hashlib.sha256("".join(items.key_of(chunk, again) for chunk in chunks).encode()).hexdigest()
    out = out or file.with_name(f"{file.name}.results.jsonl")
    with deployment(url, stack, token) as client, Results(out, {"address": client.url, "file": content}) as results:
        with BatchProgress(len(lines), len(results.outcomes)) as progress:
            try:
                state = Upload(client, chunks, again, results).run(progress.show)
            except KeyboardInterrupt:
                _stopped(results, len(lines), out)
        _tell(results, len(lines), out, as_json)
    if state.waiting:
        fail(f"{state.waiting:,} jobs wait for an answer: crewrelay jobs --status waiting", Exit.JOB_WAITS)
    if any(outcome != "completed" for outcome in results.outcomes.values()):
        raise typer.Exit(Exit.JOB_FAILED)


def _stopped(results: "Results", lines: int, out: Path) -> NoReturn:
    note(f"\nstopped with {len(results.outcomes):,} of {lines:,} results in {out}: run the same command again to go on")
    raise typer.Exit(130)


def _tell(results: "Results", lines: int, out: Path, as_json: bool) -> None:
    from crewrelay.cli.output.text import say, say_json

    counts = results.counts
    if as_json:
        batches = [batch_id for batch_id in results.batches.values() if batch_id]
        return say_json({"out": str(out), "lines": lines, "results": dict(counts), "batches": batches})
    by_outcome = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(counts.items()))
    say(f"{len(results.outcomes):,} of {lines:,} results are in {out}: {by_outcome or 'none'}")
