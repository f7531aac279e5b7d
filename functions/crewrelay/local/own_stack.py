"""A temporary stack for one job, in its own process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class StackDidNotStart(Exception):
    """The stack ended at its start; it has printed the reason."""


@contextmanager
def own_stack() -> Iterator[str]:
    """Run a stack during the block, which is given its URL. Raises StackDidNotStart."""
    command = [sys.executable, "-m", "crewrelay", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = process.stdout.readline().split()
            urls = [word for word in words if word.startswith("http://")]
            if not urls:
                raise StackDidNotStart("the stack did not start")
            yield urls[0]
        finally:
            process.terminate()
