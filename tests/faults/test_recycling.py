"""Crews that never come back keep a core busy for as long as their process lives: it ends, and gives back first."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import httpx

from crewrelay.crews.environment import CREW_ENVIRONMENT
from crewrelay.jobs.records.job import Status
from crewrelay.jobs.records.policy import Policy
from crewrelay.local.child import GATEWAY, GATEWAY_VARIABLE, RECEIVED_AT, RECYCLED
from tests.faults.bench import Bench, NewBench
from tests.faults.engines import ONLY_SQLITE
from tests.support.fixtures import Figure
from tests.support.processes import ROOT
from tests.support.stack import environment

SPINNERS = 4
SECRET = "of the gateway"


@contextmanager
def crew_process(bench: Bench) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client]]:
    """One as the stack starts it, and a client of its app."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.spinning_crew"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(
            **CREW_ENVIRONMENT,
            **bench.environment,
            **{GATEWAY_VARIABLE: SECRET},
            POWERTOOLS_LOG_LEVEL="WARNING",
        ),
    )
    assert process.stdin
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line.startswith(b"ready "), line
        url, headers = f"http://127.0.0.1:{int(line.split()[1])}", {GATEWAY: SECRET}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            yield process, client
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def run(client: httpx.Client, topic: str, wait: int) -> tuple[int, float]:
    """The status of the answer, and the seconds that it took."""
    begun = time.monotonic()
    headers = {"Prefer": f"wait={wait}", RECEIVED_AT: str(int(time.time() * 1000))}
    answer = client.post("/crewai/run", json={"topic": topic, "language": "en"}, headers=headers)
    return answer.status_code, time.monotonic() - begun


@ONLY_SQLITE
def test_a_process_ends_whose_crews_do_not_come_back_and_gives_back_first(new_bench: NewBench, figure: Figure) -> None:
    bench = new_bench("--delay", "0.1", policy=Policy(lease=timedelta(seconds=5)))
    with crew_process(bench) as (process, client), ThreadPoolExecutor(SPINNERS) as pool:
        run(client, "the first is slower", 20)
        status, alone = run(client, "alone", 20)
        assert status == 200
        begun = time.monotonic()
        assert {status for status, _ in pool.map(lambda _: run(client, "spin", 1), range(SPINNERS))} == {202}
        _, beside_them = run(client, "beside them", 10)
        assert process.wait(60) == RECYCLED
        ended = time.monotonic() - begun
        assert process.stdout
        said = process.stdout.read().decode()
    assert "a crew does not come back" in said
    assert "_spin" in said
    jobs = [bench.job(job_id) for job_id in bench.job_ids()]
    assert {job.status for job in jobs} <= {Status.COMPLETED, Status.PENDING}  # none is held any more
    figure(
        f"a job of {alone:.1f} s beside {SPINNERS} crews that never come back: {beside_them:.1f} s; "
        f"their process ends {ended:.0f} s after they began"
    )
