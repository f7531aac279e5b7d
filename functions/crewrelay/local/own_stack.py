"""A temporary stack for one job, in its own process."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class StackDidNotStart(Exception):
    """The stack ended at its start; it has printed the reason."""


@contextmanager
def own_stack(*, aws: bool) -> Iterator[str]:
    """Run a stack during the block, which is given its URL. Its jobs are gone afterwards. Raises StackDidNotStart."""
    folder = tempfile.TemporaryDirectory(prefix="crewrelay-jobs-")
    command = [sys.executable, "-m", "crewrelay", "serve", "--port", "0", "--crews", "1"]
    command += ["--aws"] if aws else ["--data", folder.name]
    with folder, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = process.stdout.readline().split()
            urls = [word for word in words if word.startswith("http://")]
            if not urls:
                raise StackDidNotStart("the stack did not start")
            yield urls[0]
        finally:
            process.terminate()
