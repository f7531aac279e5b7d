"""The sections of docs/benchmarks.md. Their text has ratios; what was measured is in the tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.bench.plots import bars, curve
from tests.bench.systems import BACKGROUND, CELERY_LATE, FLOOR, SQLITE

Found = Mapping[str, Any]


class Section(NamedTuple):
    title: str
    text: str
    picture: str = ""


def _kills(found: Found) -> Section:
    systems: Found = found["systems"]
    ours, others = systems[SQLITE], [one for name, one in systems.items() if name != SQLITE]
    lost, again = (sum(one[name] for one in others) for name in ("lost", "paid_again"))
    needed = found["jobs"] * found["calls"]
    columns = {"under way": "under_way", "lost": "lost", "paid again": "paid_again", "s to the end": "seconds"}
    ended = {name: {**one, "seconds": "–" if one["lost"] else one["seconds"]} for name, one in systems.items()}
    wasted = [(name, one["lost"] * found["calls"] + one["paid_again"]) for name, one in systems.items()]
    return Section(
        "kill -9 in mid-job",
        f"""{found["jobs"]} jobs of {found["calls"]} calls are in mid-run, each with its first call answered, when all
processes that run crews get SIGKILL. They are started again at once. *Lost* were not taken up again in 40
seconds, in which another job came every five. *Paid again* are calls beyond the {needed} that the
jobs need. crewrelay lost {ours["lost"]} jobs and paid {ours["paid_again"]} calls
again, which were under way in the processes that died; what had been answered was replayed. The others,
{len(others)} of them, together lost {lost} jobs and paid {again} calls again.

{_by_system(ended, columns)}

Another process gets a job of a queue from its beginning. Celery acknowledges a message when its task begins, unless
`task_acks_late` is set (*{CELERY_LATE}*). The queues are set to give a dead worker's messages back after 10 seconds,
so that the measurement ends. As they ship, Celery waits for an hour on Redis (`visibility_timeout`) and looks for
such messages once in 100 seconds, taskiq for ten minutes (`idle_timeout`) and dramatiq for one (`heartbeat_timeout`,
with a look for dead workers at one command in a thousand). Do not copy the 10 seconds: a longer job would run twice
on Celery and on taskiq. crewrelay runs as it ships: its lease of 15 seconds is renewed while a job runs, then comes a
sweep.""",
        bars("After kill -9: calls of lost jobs, and calls paid again", "calls", wasted),
    )


def _drain(found: Found) -> Section:
    systems: Found = found["systems"]
    ours, background = systems[SQLITE], systems[BACKGROUND]
    others = {name: one for name, one in systems.items() if not name.startswith("crewrelay")}
    fastest = min(others, key=lambda name: others[name]["seconds"])
    thriftiest = min(others, key=lambda name: others[name]["cpu_ms_per_job"])
    columns = {"s": "seconds", "CPU a job, ms": "cpu_ms_per_job", "submit p50 meanwhile, ms": "submit_p50_ms"}
    return Section(
        f"{found['jobs']} jobs, to the last one",
        f"""{found["jobs"]} jobs of {found["calls"]} calls of {found["delay"]:g} s, submitted by four threads.
crewrelay on SQLite takes {_times(ours["seconds"], background["seconds"])} as long as BackgroundTasks, which run in the
API's only process, and {_times(ours["seconds"], others[fastest]["seconds"])} as long as the fastest of the others,
{fastest}. A job takes {_times(ours["cpu_ms_per_job"], others[thriftiest]["cpu_ms_per_job"])} as much CPU as
with {thriftiest}, which takes least of them, all processes counted.

{_by_system(systems, columns)}""",
        bars(
            f"{found['jobs']} jobs: seconds to the last one", "s", [(n, one["seconds"]) for n, one in systems.items()]
        ),
    )


def _submission(found: Found) -> Section:
    systems: Found = found["systems"]
    ours, floor = systems[SQLITE]["p50_ms"], systems[FLOOR]["p50_ms"]
    others = {
        name: one["p50_ms"] for name, one in systems.items() if name != FLOOR and not name.startswith("crewrelay")
    }
    quickest = min(others, key=lambda name: others[name])
    return Section(
        "Submission",
        f"""{found["submissions"]} submissions, one after the other, while nothing else runs. The floor is a route
of FastAPI that commits one row of SQLite with fsync. crewrelay checks the inputs, and commits the input, the job, the
first event and a bell. At the median it takes {_times(ours, floor)} as long as the floor, and
{_times(ours, others[quickest])} as long as {quickest}, the quickest queue. The
queues answer before their Redis has written to disk.

{_by_system(systems, {"p50, ms": "p50_ms", "p99, ms": "p99_ms"})}""",
        bars("Submission, median", "ms", [(name, one["p50_ms"]) for name, one in systems.items()]),
    )


def _inline(found: Found) -> Section:
    least = found["delay"] * found["calls"]
    at_once: Mapping[str, float] = found["at_once"]
    spent = [("called as a function", found["direct_ms"]), ("`POST /crewai/run`", found["inline_ms"])]
    slowed = [(number, seconds, f"{seconds / least:.2f}") for number, seconds in at_once.items()]
    return Section(
        "Inline",
        f"""The crew, called as a function by CrewAI alone, and by `POST /crewai/run`, with a model that answers at
once. The request takes {_times(found["inline_ms"], found["direct_ms"])} as long: medians of {found["times"]} runs.

{_table(("", "ms"), spent)}

And so many requests at once to one crew process. With {found["calls"]} calls of {found["delay"]:g} s nobody can
be done before {least:g} s. The crews of a process share an interpreter: what is beyond that is CPU.

{_table(("at once", "s to the last answer", "times the least"), slowed)}""",
        bars(
            "Crews at once in one process: seconds to the last answer",
            "s",
            [("the least possible", least), *((f"crewrelay, {number} at once", s) for number, s in at_once.items())],
        ),
    )


def _recovery(found: Found) -> Section:
    columns = {
        "relay, ms": "relay_ms",
        "after a kill, s": "killed_s",
        "most, s": "killed_most_s",
        "replay, ms": "replay_ms",
    }
    return Section(
        "Relay, recovery, replay",
        f"""*Relay*: from the release of an inline run, whose caller waits no longer, to its claim by the worker.
*After a kill*: from SIGKILL in mid-call to the claim by the process that is started for it, at most a lease of
15 seconds and a sweep later. *Replay*: from that claim to the call that was under way, with all before it taken from
the journal. Medians of {found["relays"]} relays and {found["kills"]} kills.

{_by_system(found["engines"], columns)}""",
    )


def _memory(found: Found) -> Section:
    points = [(x, y) for x, y in found["curve_mb"]]
    middle, last = points[len(points) // 2], points[-1]
    return Section(
        "Memory",
        f"""The resident memory of all crew processes over {found["jobs"]:,} jobs, whose model answers at once.
After the last
job it is {last[1] / middle[1]:.3f} times what it was after {middle[0]:,}: {found["late_kb_per_job"]:g} KB a job. It was
{found["begun_mb"]:,.0f} MB before the first.

{_table(("jobs", "MB"), [(f"{x:,}", y) for x, y in points])}""",
        curve("Memory of the crew processes", "MB", points, "jobs"),
    )


def _backlog(found: Found) -> Section:
    few, many = f"{found['few']:,}", f"{found['many']:,}"
    rows = [
        (name, one["few_ms"], one["many_ms"], one["many_ms"] / one["few_ms"])
        for name, one in found["operations"].items()
    ]
    return Section(
        "A backlog",
        f"""An operation behind {few} and behind {many} pending jobs, on SQLite: at most
{max(row[3] for row in rows):.2f} times
as long. The sweep finds {found["lost"]} jobs among them whose process has died.

{_table(("", f"behind {few}, ms", f"behind {many}, ms", "ratio"), [(*row[:3], f"{row[3]:.2f}") for row in rows])}""",
    )


def _cold_starts(found: Found) -> Section:
    functions: Mapping[str, float] = found["functions_ms"]
    light, heavy = functions["api"], functions["run"]
    return Section(
        "Cold starts",
        f"""What the import of a function's handler adds to an interpreter that imports nothing, medians of
{found["times"]}. It is
the part of a cold start that is ours. The API's is {_times(light, heavy)} as long as that of the function that runs
crews: the light ones never import CrewAI. `make runtime` measures the built functions under AWS's own runtime.

{_table(("function", "ms"), functions.items())}""",
        bars("Import of each function's handler", "ms", list(functions.items()), own="\0"),
    )


SECTIONS: Mapping[str, Callable[[Found], Section]] = {
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


def _by_system(systems: Found, columns: Mapping[str, str]) -> str:
    rows = ((name, *(one[figure] for figure in columns.values())) for name, one in systems.items())
    return _table(("", *columns), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
