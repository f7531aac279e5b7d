"""`make bench`: measures, keeps the figures in measured.json, and writes docs/benchmarks.md with its plots of them.

python -m tests.bench               measures everything
python -m tests.bench drain kills   measures these again, and keeps the others
python -m tests.bench --write       measures nothing
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from crewrelay.system import utcnow
from tests.bench import backlog, cold_starts, drain, inline, kills, memory, page, recovery, submission
from tests.bench.machine import machine, peers
from tests.bench.sections import Found
from tests.bench.sizes import SHORT
from tests.support.processes import listening

# A model server's port is what each takes.
SECTIONS: dict[str, Callable[[int], Found]] = {
    "drain": drain.measure,
    "kills": kills.measure,
    "submission": submission.measure,
    "inline": inline.measure,
    "recovery": recovery.measure,
    "memory": memory.measure,
    "backlog": backlog.measure,
    "cold_starts": cold_starts.measure,
}


def main(words: list[str]) -> None:
    if unknown := set(words) - {"--write", *SECTIONS}:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    for name in [] if "--write" in words else words or SECTIONS:
        keep(name, *measured_now(name))
    for file, text in page.files(kept()).items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


def measured_now(name: str) -> tuple[Found, Found]:
    """When and how long it was measured, and what was found."""
    load, begun = os.getloadavg()[0], time.monotonic()
    with listening("tests.support.doubles.model_server") as server:
        found = SECTIONS[name](server)
    took = round(time.monotonic() - begun)
    print(f"{name}: {took} s, load {load:.1f} before\n  {json.dumps(found, ensure_ascii=False)}", flush=True)
    return {"on": utcnow().date().isoformat(), "load_before": round(load, 1), "took_s": took, "short": SHORT}, found


def keep(name: str, about: Found, found: Found) -> None:
    everything = {**kept(), "machine": machine(), "peers": peers(), name: {**about, **found}}
    page.MEASURED.write_text(json.dumps(everything, indent=2, ensure_ascii=False) + "\n")


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.MEASURED.read_text()) if page.MEASURED.exists() else {}
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
