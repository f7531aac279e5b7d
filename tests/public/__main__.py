"""Tries every CrewAI project below the named folders, each in a process of its own.

The interpreter needs crewrelay and what the projects import. Nothing leaves this machine.
`--answer TEXT` is the answer to the next question that each of them asks.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crewrelay.catalogue.project import is_project

LONGEST = 180  # seconds of a project


def projects(folder: Path) -> Iterator[Path]:
    """Folders that are projects, not looking into one for others."""
    if is_project(folder):
        yield folder
        return
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield from projects(inner)


def tried(folder: Path, answers: list[str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="crewrelay-") as place:
        report = Path(place, "report.json")
        command = [sys.executable, "-m", "tests.public.trial", str(folder), str(report), *answers]
        env = os.environ | {"HOME": place, "CREWRELAY_DATA": place, "CREWAI_DISABLE_TELEMETRY": "true"}
        try:
            done = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, check=False
            )
        except subprocess.TimeoutExpired:
            return {"form": "", "far": "checks", "why": f"not at its end after {LONGEST} s"}
        if not report.exists():
            return {"form": "", "far": "", "why": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
        found: dict[str, str] = json.loads(report.read_text())
        return found


def main(folders: list[Path], answers: list[str]) -> None:
    print("| project | form | how far | why no further |\n|---|---|---|---|")
    ran = total = 0
    for root in folders:
        for folder in projects(root.resolve()):
            found = tried(folder, answers)
            name = f"{root.name}/{folder.relative_to(root.resolve())}".rstrip("/.")
            print(f"| {name} | {found['form']} | {found['far']} | {found['why'].replace('|', '/')[:300]} |", flush=True)
            total += 1
            ran += found["far"].startswith("runs")
    print(f"{ran} of {total} run to an end")


given = argparse.ArgumentParser(prog="python -m tests.public")
given.add_argument("folders", nargs="+", type=Path)
given.add_argument("--answer", action="append", default=[])
options = given.parse_args()
main(options.folders, options.answer)
