"""How many small faults, put into the product one by one, its fast tests find."""

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.named import NAMED
from tests.mutants.plugins import QUIET, Collected, SharedEmulator
from tests.mutants.trial import FUNCTIONS, Outcome, Trials, Tried
from tests.support.aws import emulator_of_tests
from tests.support.processes import ROOT

JOBS = sorted((FUNCTIONS / "crewrelay/jobs").rglob("[!_]*.py"))
STORE = [
    FUNCTIONS / "crewrelay/aws" / name
    for name in ("store.py", "rows.py", "batch_get.py", "indexes.py", "listing.py", "deletion.py")
]
TESTS = """
    access answer bells cap cap_counts error_kinds errors execution_deadline execution_ends execution_errors
    execution_journal execution_lease execution_relay execution_store intervention intervention_retries job
    job_fields journal lease log_keys logs money observed observed_refusals observed_writes policy ports process
    process_waits redrive run run_blame run_budget run_ends run_time spending spoofs store_requests stray strays
    submission submission_keys sweeper sweeper_troubles text turns values
""".split()
CONTRACT = [str(path) for path in sorted((ROOT / "tests/integration").glob("test_store_*.py"))]
KILLED = (Outcome.KILLED, Outcome.TIMED_OUT)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    arguments.add_argument("files", nargs="*", type=Path, default=[*JOBS, *STORE], help="the domain and the job store")
    arguments.add_argument("--named", action="store_true", help="only the faults of named.py, and all of them")
    arguments.add_argument("--least", type=float, default=95, help="per cent of the mutants that must be killed")
    given = arguments.parse_args()
    os.chdir(ROOT)
    if given.named:
        return collected([named.test for named in NAMED], [], lambda session: try_named(Trials(session, [], [])))
    tests = [f"tests/unit/test_{name}.py" for name in TESTS]
    files, shared = [file.resolve() for file in given.files], list[object]()
    with ExitStack() as stack:
        if not {*files}.isdisjoint(STORE):
            shared.append(SharedEmulator(stack.enter_context(emulator_of_tests())))
            tests += CONTRACT
        return collected(tests, shared, lambda session: report(Trials(session, files, shared).every(), given.least))


def collected(tests: Sequence[str], plugins: Sequence[object], work: Callable[[pytest.Session], int]) -> int:
    """Do this with the tests, once pytest has collected them."""
    instead = Collected(work)
    failed = pytest.main([*QUIET, "--capture=no", *tests], plugins=[instead, *plugins])
    return int(failed) or instead.result


def try_named(trials: Trials) -> int:
    survived = 0
    for named in NAMED:
        path = FUNCTIONS / "crewrelay" / named.file
        source = path.read_text()
        if source.count(named.old) != 1:
            raise RuntimeError(f"{named.what}: {named.old!r} does not stand once in {named.file}")
        outcome = trials.of(path, compile(source.replace(named.old, named.new), path, "exec"), named.test)
        survived += outcome not in KILLED
        print(f"{outcome}: {named.what}", flush=True)
    print(f"{len(NAMED) - survived} of {len(NAMED)} named mutants killed")
    return int(survived > 0)


def report(every: Iterable[Tried], least: float) -> int:
    begun, equivalent = time.monotonic(), 0
    counted: Counter[Outcome] = Counter()
    by_file: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    for mutant, outcome in every:
        if outcome not in KILLED and mutant.name in EQUIVALENT:
            equivalent += 1
            continue
        counted[outcome] += 1
        by_file[mutant.path.name][outcome in KILLED] += 1
        if outcome not in KILLED:
            print(f"{outcome}: {mutant.path.relative_to(ROOT)}:{mutant.line} {mutant.name}", flush=True)
    for name, count in by_file.items():
        print(f"{name:16} {count[True]:4} of {count.total():4} killed, {count[True] / count.total():6.1%}")
    killed, total = sum(counted[outcome] for outcome in KILLED), counted.total()
    score, seconds = 100 * killed / total, time.monotonic() - begun
    print(f"{killed} of {total} mutants killed, {counted[Outcome.TIMED_OUT]} by time; {equivalent} more change nothing")
    print(f"score {score:.1f} %, at least {least:g} % asked; {seconds:.0f} s")
    return int(score < least)


if __name__ == "__main__":
    sys.exit(main())
