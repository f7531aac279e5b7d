"""Child processes of tests: started on free ports, ended by closing their standard input."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def listening(
    module: str, *arguments: str, env: Mapping[str, str] | None = None, python: str | Path = sys.executable
) -> Iterator[int]:
    """Run `python -m module …` until the block ends; its port, once it has printed `ready PORT`."""
    process = subprocess.Popen(
        [python, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
    )
    assert process.stdin
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line.startswith(b"ready "), f"{module} said {line!r} and ended with {process.poll()}"
        yield int(line.split()[1])
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def peak_memory(pid: int | str = "self") -> int:
    """The most bytes that a process has taken. getrusage would begin with what its parent had at the fork."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
