"""A job's answer with its sources, and its question: as rendered Markdown in a terminal, else as plain text."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from crewrelay.cli.api.client import Json
from crewrelay.cli.output.text import say
from crewrelay.jobs.text import in_one_line, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.markdown import Markdown

_WIDEST = 100  # columns of text


def say_answer(text: str, job: Json) -> None:
    """`text` is the job's result, which may not be in the job itself."""
    if not sys.stdout.isatty():
        # As it is: quotations must stay verbatim.
        say(f"\n{text}\n")
        for source in job["sources"]:
            say(f"{_head(source)}\n“{source['excerpt']}”\n")
        for line in _files(job):
            say(line)
        return
    console = _console()
    console.print()
    console.print(_markdown(text))
    for source in job["sources"]:
        console.print(f"\n{_head(source)}", style="bold")
        console.print(f"“{shown(source['excerpt'])}”", style="dim")
    console.print()
    for line in _files(job):
        console.print(line)


def say_question(asked: Json, job_id: str) -> None:
    """What a job waits for, and how to answer."""
    about = f"The task {in_one_line(asked['task'])} asks:" if asked["task"] else "The job asks:"
    if not sys.stdout.isatty():
        say("\n\n".join(filter(None, [asked["output"], about, asked["message"], *_choice(asked, job_id)])))
        return
    console = _console()
    if asked["output"]:
        console.print(_markdown(asked["output"]))
        console.print()
    console.print(about, style="bold")
    console.print(shown(asked["message"]))
    for line in _choice(asked, job_id):
        console.print(f"\n{shown(line)}")


def _choice(asked: Json, job_id: str) -> Iterator[str]:
    if asked["options"]:
        yield f"Options: {', '.join(map(in_one_line, asked['options']))}"
    if asked["expires_at"]:
        default = asked["default"]
        then = "the job fails" if default is None else f"the answer is {in_one_line(default) or 'empty'}"
        yield f"After {asked['expires_at'][:16].replace('T', ' ')} UTC {then}."
    option = (
        f"--option '{in_one_line(asked['options'][0])}'" if asked["options"] else '"What to change" ("" accepts it)'
    )
    yield f"To answer: crewrelay answer {in_one_line(job_id)} {option}"


def _head(source: Json) -> str:
    return in_one_line(f"[{source['number']}] {source['title']} ({source['url']})")


def _files(job: Json) -> Iterator[str]:
    for file in job.get("files", []):
        yield in_one_line(f"file {file['name']}: {file['size']:,} bytes {file['url'] or '(too large to be kept)'}")


def _console() -> "Console":
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    console.width = min(console.width, _WIDEST)
    return console


def _markdown(text: str) -> "Markdown":
    """HTML in it is text, and an address stays readable: a terminal's link can hide where it leads."""
    from markdown_it import MarkdownIt
    from rich.markdown import Markdown

    rendered = Markdown("", hyperlinks=False)
    rendered.markup = shown(text)
    rendered.parsed = (
        MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).parse(rendered.markup)
    )
    return rendered
