"""How many small faults, put into the product one by one, its fast tests find."""

import argparse
import ast
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.named import NAMED
from tests.mutants.operators import Mutant, mutants_of, put
from tests.mutants.trial import (
    FUNCTIONS,
    Mutated,
    Outcome,
    Reach,
    SharedEmulator,
    forked,
    observe,
    outcome_of,
    run_tests,
)
from tests.processes import ROOT, listening

JOBS = sorted((FUNCTIONS / "crewrelay/jobs").glob("[!_]*.py"))
STORE = [FUNCTIONS / "crewrelay/aws" / name for name in ("store.py", "rows.py")]
TESTS = """
    access execution intervention job lease logs observed policy redrive run run_ends
    store_requests submission sweeper
""".split()
CONTRACT = "tests/integration/test_store_contract.py"
WORKERS = 2


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    arguments.add_argument("files", nargs="*", type=Path, default=[*JOBS, *STORE], help="the domain and the job store")
    arguments.add_argument("--named", action="store_true", help="only the faults of named.py, and all of them")
    arguments.add_argument("--least", type=float, default=95, help="per cent of the mutants that must be killed")
    given = arguments.parse_args()
    os.chdir(ROOT)
    if given.named:
        return try_named()
    files = [file.resolve() for file in given.files]
    tests = [f"tests/unit/test_{name}.py" for name in TESTS] + [CONTRACT] * bool({*files} & {*STORE})
    with listening("crewrelay.local.emulator") as port:
        plugins = [SharedEmulator(f"http://127.0.0.1:{port}")]
        reached = observe(tests, files, plugins)
        check(reached, plugins)
        return report(tried(files, reached, plugins), given.least)


def try_named() -> int:
    tests = [named.test for named in NAMED]
    reached = observe(tests, [], [])
    check(reached, [])
    survived = 0
    for named in NAMED:
        path = FUNCTIONS / "crewrelay" / named.file
        source = path.read_text()
        if source.count(named.old) != 1:
            raise RuntimeError(f"{named.what}: {named.old!r} does not stand once in {named.file}")
        code = compile(source.replace(named.old, named.new), path, "exec")
        tests = [test for test in reached if test.partition("[")[0] == named.test]
        child = forked(lambda: trial(path, code, tests, []), 60)  # noqa: B023
        outcome = outcome_of(os.waitpid(child, 0)[1])
        survived += outcome is Outcome.SURVIVED
        print(f"{outcome}: {named.what}")
    print(f"{len(NAMED) - survived} of {len(NAMED)} named mutants killed")
    return bool(survived)


Tried = tuple[Mutant, Outcome]


def tried(files: Sequence[Path], reached: dict[str, Reach], plugins: Sequence[object]) -> Iterator[Tried]:
    """Every mutant with what became of it, as it is known."""
    running: dict[int, Mutant] = {}
    for file in files:
        tree = ast.parse(file.read_text())
        for mutant in mutants_of(file, tree):
            tests = reaching(mutant, reached)
            if not tests:
                yield mutant, Outcome.UNREACHED
                continue
            if len(running) == WORKERS:
                yield ended(running)
            seconds = 10 + 5 * sum(reached[test].seconds for test in tests)
            running[forked(lambda: trial(file, mutated(mutant, tree), tests, plugins), seconds)] = mutant  # noqa: B023
    while running:
        yield ended(running)


def check(reached: dict[str, Reach], plugins: Sequence[object]) -> None:
    """Without a mutant the tests pass here too, or whatever they say of one is worth nothing."""
    child = forked(lambda: run_tests(list(reached), plugins), 600)
    if outcome_of(os.waitpid(child, 0)[1]) is not Outcome.SURVIVED:
        raise RuntimeError("the tests fail in a forked process")


def ended(running: dict[int, Mutant]) -> Tried:
    child, status = os.wait()
    return running.pop(child), outcome_of(status)


def mutated(mutant: Mutant, tree: ast.Module) -> CodeType:
    with put(mutant.place, mutant.node):
        return compile(ast.fix_missing_locations(tree), mutant.path, "exec")


def trial(path: Path, code: CodeType, tests: Sequence[str], plugins: Sequence[object]) -> int:
    sys.meta_path.insert(0, Mutated(path, code))
    return run_tests(tests, plugins)


def reaching(mutant: Mutant, reached: dict[str, Reach]) -> list[str]:
    """The tests that may notice it, the quickest first: all, if it is in what is run when its module is imported."""
    lines = range(mutant.line, mutant.last_line + 1)
    found = [
        test
        for test, reach in reached.items()
        if not mutant.in_function or not set(lines).isdisjoint(reach.lines.get(str(mutant.path), ()))
    ]
    return sorted(found, key=lambda test: reached[test].seconds)


def report(every: Iterator[Tried], least: float) -> int:
    begun, counted = time.monotonic(), Counter[Outcome]()
    by_file: dict[str, Counter[bool]] = {}
    equivalent = 0
    for mutant, outcome in every:
        survived = outcome in (Outcome.SURVIVED, Outcome.UNREACHED)
        if survived and mutant.name in EQUIVALENT:
            equivalent += 1
            continue
        counted[outcome] += 1
        by_file.setdefault(mutant.path.name, Counter())[survived] += 1
        if survived:
            print(f"{outcome}: {mutant.path.relative_to(ROOT)}:{mutant.line} {mutant.name}", flush=True)
    for name, count in by_file.items():
        print(f"{name:20} {count[False]:4} of {count.total():4} killed, {count[False] / count.total():6.1%}")
    killed, total = counted[Outcome.KILLED] + counted[Outcome.TIMED_OUT], counted.total()
    score = 100 * killed / total
    seconds = time.monotonic() - begun
    print(f"{killed} of {total} mutants killed ({counted[Outcome.TIMED_OUT]} by time), {total - killed} survived,")
    print(f"{equivalent} that change nothing left out; {score:.1f} %, of which {least:g} % are asked; {seconds:.0f} s")
    return 0 if score >= least else 1


if __name__ == "__main__":
    sys.exit(main())
