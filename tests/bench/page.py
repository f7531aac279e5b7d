"""docs/benchmarks.md and its plots, from measured.json. The text has ratios; what was measured is in the tables."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.bench.plots import bars, curve
from tests.bench.systems import BACKGROUND, CELERY_LATE, EMULATOR, SQLITE
from tests.support.processes import ROOT

MEASURED = ROOT / "tests/bench/measured.json"
_DOCS = ROOT / "docs"
_FLOOR = "one row, FastAPI and SQLite"

Found = dict[str, Any]


def files(measured: Found) -> dict[Path, str]:
    """What the figures make of the page and its pictures."""
    parts = [_beginning(measured)]
    pictures: dict[Path, str] = {}
    for name, section in _SECTIONS.items():
        if found := measured.get(name):
            title, text, picture = section(found)
            image = f"images/bench-{name.replace('_', '-')}.svg"
            if picture:
                pictures[_DOCS / image] = picture
                text = f"![{title}]({image})\n\n{text}"
            parts.append(f"## {title}\n\n{text}\n\n{_how(name, found)}")
    return {_DOCS / "benchmarks.md": "\n\n".join(parts) + "\n", **pictures}


def _beginning(measured: Found) -> str:
    at, peers = measured["machine"], measured["peers"]
    versions = ", ".join(f"{name} {number}" for name, number in peers.items())
    return f"""# Benchmarks

What crewrelay costs and what it gives, beside what else people run crews with, on one machine and in one run. `make bench` measures
all of it again and writes this page: figures of another machine differ, their ratios much less. All systems run the crew that ships, built by
CrewAI {at["crewai"]}, against the same scripted model: three calls of a model and a search. Celery, dramatiq and taskiq get a front
of FastAPI, a Redis server of their own that writes to disk once a second, and as many workers and threads as crewrelay has.

Measured on {at["cores"]} cores ({at["cpu"]}), {at["memory_gb"]} GB, {at["system"]}, Python {at["python"]}; {versions}. RabbitMQ and
Redis on a machine of its own were not measured, nor AWS itself: the emulator stands for its API, not for its speed."""


def _how(name: str, found: Found) -> str:
    return (
        f"`make bench ONLY={name}`, {found['on']}, {found['took_s']} s; the load average before it was {found['load_before']}."
    )


def _drain(found: Found) -> tuple[str, str, str]:
    systems: dict[str, Found] = found["systems"]
    sqlite, background = systems[SQLITE], systems[BACKGROUND]
    others = [one for name, one in systems.items() if not name.startswith("crewrelay") and name != BACKGROUND]
    fastest = min(one["seconds"] for one in others)
    least = min(one["cpu_ms_per_job"] for name, one in systems.items() if not name.startswith("crewrelay"))
    text = f"""{found["jobs"]} jobs of {found["calls"]} model calls of {found["delay"]:g} s, submitted at once. On SQLite crewrelay takes
{_times(sqlite["seconds"], background["seconds"])} the time of BackgroundTasks, which runs in the API's own process, and
{_times(sqlite["seconds"], fastest)} that of the fastest queue. Its journal costs CPU: a job takes {_times(sqlite["cpu_ms_per_job"], least)}
that of the cheapest other system, all processes together.

{_table(("system", "seconds", "CPU a job, ms", "submit p50 meanwhile, ms"), ((name, one["seconds"], one["cpu_ms_per_job"], one["submit_p50_ms"]) for name, one in systems.items()))}"""
    rows = [(name, one["seconds"]) for name, one in systems.items()]
    return f"{found['jobs']} jobs, to the last one", text, bars(f"{found['jobs']} jobs: seconds to the last one", "s", rows)


def _kills(found: Found) -> tuple[str, str, str]:
    systems: dict[str, Found] = found["systems"]
    sqlite = systems[SQLITE]
    again = sum(one["paid_again"] for name, one in systems.items() if name not in (SQLITE,))
    text = f"""{found["jobs"]} jobs of {found["calls"]} calls are in mid-run, each in its second call, when all processes that run crews get
SIGKILL; they are started again at once. *Lost* never ended; *paid again* are calls beyond the {found["jobs"] * found["calls"]} that the
jobs need. A call that was under way is lost with its process: crewrelay repeats those, at most one a job, and replays what was
answered before. What gives a whole job back repeats all its calls. crewrelay lost {sqlite["lost"]} jobs and paid {sqlite["paid_again"]}
calls again; the others together lost {sum(one["lost"] for name, one in systems.items() if name != SQLITE)} and paid {again} again.

{_table(("system", "under way", "lost", "paid again", "seconds to the end"), ((name, one["under_way"], one["lost"], one["paid_again"], one["seconds"]) for name, one in systems.items()))}

Celery's default acknowledges a message when its task begins; *{CELERY_LATE.lower()}* is `task_acks_late`. The queues are set to give a
dead worker's messages back after 10 seconds, so that a measurement ends: as they ship, Celery on Redis waits an hour
(`visibility_timeout`), taskiq ten minutes (`idle_timeout`), dramatiq one (`heartbeat_timeout`, and a look for dead workers with one
command in a thousand). With 10 seconds a job that takes longer runs twice on Celery and taskiq, so do not copy that. crewrelay
runs as it ships, with a lease of 15 seconds on one machine that is renewed while a job runs."""
    rows = [(name, one["paid_again"] + one["lost"]) for name, one in systems.items()]
    return "kill -9 in mid-job", text, bars("After kill -9: jobs lost and calls paid again", "", rows)


def _submission(found: Found) -> tuple[str, str, str]:
    systems: dict[str, Found] = found["systems"]
    sqlite, floor = systems[SQLITE], systems[_FLOOR]
    queues = [one["p50_ms"] for name, one in systems.items() if not name.startswith("crewrelay") and name != _FLOOR]
    text = f"""{found["submissions"]} submissions, one after the other, while nothing else runs. The floor is a FastAPI route that commits one row
of SQLite with fsync. crewrelay checks the inputs, commits the input, the job and its bell and makes an event of it: {_times(sqlite["p50_ms"], floor["p50_ms"])} the floor at the median, {_times(sqlite["p50_ms"], min(queues))} the quickest queue, whose Redis writes to disk once a
second, after the answer.

{_table(("system", "p50, ms", "p99, ms"), ((name, one["p50_ms"], one["p99_ms"]) for name, one in systems.items()))}"""
    rows = [(name, one["p50_ms"]) for name, one in systems.items()]
    return "Submission", text, bars("Submission, median", "ms", rows)


def _inline(found: Found) -> tuple[str, str, str]:
    ideal = found["delay"] * found["calls"]
    at_once: dict[str, float] = found["at_once"]
    text = f"""The crew, called as a function by CrewAI alone, against `POST /crewai/run`, with a model that answers at once: the request takes
{_times(found["inline_ms"], found["direct_ms"])} the time ({found["times"]} runs each, medians).

{_table(("", "ms"), (("called as a function", found["direct_ms"]), ("`POST /crewai/run`", found["inline_ms"])))}

And so many requests at once in one crew process, with {found["calls"]} calls of {found["delay"]:g} s, of which nobody can be done before
{ideal:g} s: crews share an interpreter, so what is over that is CPU.

{_table(("at once", "seconds to the last answer", "times the least"), ((number, seconds, f"{seconds / ideal:.1f}") for number, seconds in at_once.items()))}"""
    rows = [(f"crewrelay, {number} at once", seconds) for number, seconds in at_once.items()]
    return "Inline", text, bars("Crews at once in one process: seconds to the last answer", "s", [("the least possible", ideal), *rows])


def _recovery(found: Found) -> tuple[str, str, str]:
    engines = {name: one for name, one in found.items() if isinstance(one, dict)}
    rows = (
        (name, one["relay_ms"], one["killed_s"], one["killed_most_s"], one["replay_ms"]) for name, one in engines.items()
    )
    text = f"""From a relay, an inline run whose caller waits no longer, to the claim by the worker; from SIGKILL in mid-call to the claim by the next
process, which is a lease of 15 seconds at most and a sweep; and from that claim to the call that was under way, which is the
replay of everything before it. Medians of {found["relays"]} relays and {found["kills"]} kills.

{_table(("engine", "relay, ms", "after a kill, s", "at most, s", "replay, ms"), rows)}"""
    return "Relay, recovery, replay", text, ""


def _memory(found: Found) -> tuple[str, str, str]:
    points = [(x, y) for x, y in found["curve_mb"]]
    halves = points[-1][1] / points[len(points) // 2][1]
    text = f"""The resident memory of all crew processes over {found["jobs"]:,} jobs whose model answers at once. Before the first job it was
{found["begun_mb"]:,.0f} MB; after the last one it is {halves:.2f} times what it was after half of them, {found["late_kb_per_job"]:g} KB a job.

{_table(("jobs", "MB"), ((f"{x:,}", y) for x, y in points))}"""
    return "Memory", text, curve("Memory of the crew processes", "MB", points, "jobs")


def _backlog(found: Found) -> tuple[str, str, str]:
    operations: dict[str, Found] = found["operations"]
    most = max(one["many_ms"] / one["few_ms"] for one in operations.values())
    rows = ((name, one["few_ms"], one["many_ms"], f"{one['many_ms'] / one['few_ms']:.2f}") for name, one in operations.items())
    text = f"""What a job costs behind {found["few"]:,} and behind {found["many"]:,} pending jobs, on SQLite: at most {most:.2f} times as much. A sweep
finds twenty jobs whose process died among them.

{_table(("", f"behind {found['few']:,}, ms", f"behind {found['many']:,}, ms", "ratio"), rows)}"""
    return "A backlog", text, ""


def _cold_starts(found: Found) -> tuple[str, str, str]:
    functions: dict[str, float] = found["functions_ms"]
    text = f"""What the import of each function's handler adds to a bare interpreter, medians of {found["times"]}. It is the larger part of a cold start; AWS
adds its own, and `make runtime` measures the built functions under its runtime. The light ones never import CrewAI.

{_table(("function", "ms"), functions.items())}"""
    return "Cold starts", text, bars("Import of each function's handler", "ms", [*functions.items()], own="\0")


_SECTIONS: dict[str, Callable[[Found], tuple[str, str, str]]] = {
    "kills": _kills,
    "drain": _drain,
    "submission": _submission,
    "inline": _inline,
    "recovery": _recovery,
    "memory": _memory,
    "backlog": _backlog,
    "cold_starts": _cold_starts,
}


def _times(one: float, other: float) -> str:
    return f"{one / other:.2f} times"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
