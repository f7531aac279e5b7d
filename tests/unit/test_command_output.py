"""What commands print: timelines, Markdown, and nothing that steers a terminal."""

import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from crewrelay.cli.api.client import Json
from crewrelay.cli.jobs.follow import Progress
from crewrelay.cli.jobs.show import say_status
from crewrelay.cli.output import progress, text
from crewrelay.cli.output.answer import say_answer, say_question
from crewrelay.cli.output.drawing import bar, say_rows
from crewrelay.cli.output.timeline import Row, rows
from crewrelay.cli.terminal import note
from crewrelay.jobs.records.job import Status

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x1b]52;c;ZXZpbA==\x07\x1b]8;;https://evil.example\x1b\\bank\x1b]8;;\x1b\\"
    "\x9b31m\x9d0;c1\x9c\u202eevil\u2066\u200b\U000e0041\x08\x7f\ud800\r[bold]:boom:[link=https://evil.example]x"
)
# What rich itself prints in a terminal: colours and styles, and to move and hide the cursor.
_OURS = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|[0-9]*[AGK])")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\U000e0000-\U000e007f\ud800-\udfff]")

JOB: Json = {
    "job_id": HOSTILE,
    "status": "completed",
    "crew": HOSTILE,
    "batch": HOSTILE,
    "inputs": {"topic": HOSTILE},
    "result": HOSTILE,
    "attempts": 1,
    "progress": {"completed_tasks": 1, "total_tasks": 2, "current_task": HOSTILE, "current_agent": HOSTILE},
    "receipt": {"prompt_tokens": 1, "completion_tokens": 1, "cost_usd": None, "calls_paid": 1, "calls_replayed": 2},
    "timestamps": {"created_at": "2026-01-02T03:04:05Z", "started_at": None, "finished_at": None},
    "error": {"message": HOSTILE, "type": HOSTILE},
    "sources": [{"number": 1, "title": HOSTILE, "url": HOSTILE, "excerpt": HOSTILE}],
    "files": [{"name": HOSTILE, "size": 1, "url": None}],
    "waiting": {
        "message": HOSTILE,
        "task": HOSTILE,
        "output": f"# {HOSTILE}\n\n`{HOSTILE}`\n\n| {HOSTILE} |\n|---|\n| [a]({HOSTILE}) |",
        "options": [HOSTILE],
        "default": HOSTILE,
        "expires_at": "2026-01-02T03:04:05Z",
    },
}
EVENTS: list[Json] = [
    {"number": 1, "at": "2026-01-02T03:04:05Z", "event": "submitted"},
    {"number": 2, "at": "2026-01-02T03:04:06Z", "event": "claimed", "fence": 1},
    {
        "number": 3, "at": "2026-01-02T03:04:06Z", "event": "task_started",
        "task": 1, "of": 2, "name": HOSTILE, "agent": HOSTILE,
    },
    {
        "number": 4, "at": "2026-01-02T03:04:09Z", "event": "call", "kind": "model", "model": HOSTILE, "seconds": 2.5,
        "prompt_tokens": 20, "completion_tokens": 3, "cost_usd": 0.25, "fence": 1,
    },
    {"number": 5, "at": "2026-01-02T03:04:10Z", "event": "backed_off", "error": HOSTILE},
    {"number": 6, "at": "2026-01-02T03:04:12Z", "event": "claimed", "fence": 2},
    {"number": 7, "at": "2026-01-02T03:04:13Z", "event": "call", "kind": "tool", "seconds": 0.5, "fence": 2},
    {"number": 8, "at": "2026-01-02T03:04:15Z", "event": "failed", "error": HOSTILE},
]  # fmt: skip

PRINTS: dict[str, Callable[[], Any]] = {
    "answer": lambda: say_answer(HOSTILE, JOB),
    "markdown": lambda: say_answer(JOB["waiting"]["output"], JOB),
    "question": lambda: say_question(JOB["waiting"], HOSTILE),
    "status": lambda: say_status(JOB, as_json=False),
    "JSON": lambda: say_status(JOB, as_json=True),
    "timeline": lambda: say_rows(rows(EVENTS), JOB),
    "progress": lambda: progress.shown([Progress().after(Status.FAILED, EVENTS)]),
    "message": lambda: note(HOSTILE),
    "table": lambda: text.say_table([HOSTILE], [[HOSTILE]]),
}


class Terminal(io.StringIO):
    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def printed(print_: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, *, to_terminal: bool) -> str:
    terminal = Terminal(is_terminal=to_terminal)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, terminal)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    print_()
    return terminal.getvalue()


@pytest.mark.parametrize("to_terminal", [False, True])
@pytest.mark.parametrize("what", PRINTS)
def test_nothing_that_is_printed_steers_the_terminal(
    what: str, to_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = printed(PRINTS[what], monkeypatch, to_terminal=to_terminal)
    plain = _OURS.sub("", said) if to_terminal else said
    if what == "progress":
        plain = plain.replace("\r", "")
    assert "evil" in plain
    assert _UNSEEN.findall(plain) == []
    if not to_terminal:
        assert "\x1b" not in said


def test_json_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said = printed(PRINTS["JSON"], monkeypatch, to_terminal=False)
    assert json.loads(said) == JOB
    said.encode()


def test_markdown_is_rendered_in_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "# Title\n\nSome **bold** text, <b>HTML</b> and a [link](https://example.org/a) [1].\n"
    job = JOB | {"sources": [], "files": []}
    assert printed(lambda: say_answer(answer, job), monkeypatch, to_terminal=False) == f"\n{answer}\n\n"
    shown = _OURS.sub("", printed(lambda: say_answer(answer, job), monkeypatch, to_terminal=True))
    assert "**" not in shown
    assert "<b>HTML</b> and a link (https://example.org/a) [1]." in shown


def test_a_timeline_has_waits_runs_tasks_and_calls() -> None:
    found = [(row.kind, row.start, row.end) for row in rows(EVENTS)]
    assert found == [
        ("wait", 0, 1),
        ("run", 1, 5),
        ("task", 1, 5),
        ("model", 1.5, 4),
        ("wait", 5, 7),
        ("run", 7, 10),
        ("tool", 7.5, 8),
        ("end", 10, 10),
    ]
    called, second = rows(EVENTS)[3], rows(EVENTS)[5]
    assert (called.tokens, called.cost) == (23, 0.25)
    assert second.what == "run 2, replays 1 call of its journal"
    assert rows([]) == []


@pytest.mark.parametrize(
    ("row", "drawn"),
    [
        (Row("model", "", 0, 10), "██████████"),
        (Row("model", "", 2, 4.5), "  ██▌     "),
        (Row("wait", "", 5, 10), "     ░░░░░"),
        (Row("model", "", 10, 10), "         ▏"),
        (Row("end", "", 10, 10), "         ■"),
    ],
)
def test_a_bar_lies_where_it_was(row: Row, drawn: str) -> None:
    assert bar(row, 10, 10) == drawn


@pytest.mark.parametrize(
    ("duration", "said"),
    [(0.0412, "41 ms"), (0.9996, "1.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_a_duration_is_told_in_a_fitting_unit(duration: float, said: str) -> None:
    assert text.seconds(duration) == said


def test_an_unknown_cost_is_said_to_be() -> None:
    assert text.usage(1, 1234, None) == "1 call, 1,234 tokens, cost unknown"
