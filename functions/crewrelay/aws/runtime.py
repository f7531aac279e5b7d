"""AWS's Lambda runtime client for the crew image, which restarts the process when it is no longer sound.

    python -m crewrelay.aws.runtime worker.handler.handler

Lambda delivers a response only when the runtime asks for the next invocation. So the restart happens after that: exec
replaces the process, which is handed the invocation in a memory file. Lambda sees no process exit and no invocation
fails; this one takes as long as a cold start.
"""

import os
import pickle
import sys
from typing import Any

from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import InvocationRequest, LambdaRuntimeClient

from crewrelay.system import this_process

_GRACE = 1.0  # seconds for crews of earlier invocations to stop after Lambda has thawed the process
_HANDED_OVER = "CREWRELAY_INVOCATION"  # environment variable with the file descriptor


class RuntimeClient(LambdaRuntimeClient):  # type: ignore[misc]  # untyped package
    """`environment` is passed to the new process on a restart."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__(environment["AWS_LAMBDA_RUNTIME_API"])
        self._handed_over = environment.pop(_HANDED_OVER, None)
        self._environment = environment

    def wait_next_invocation(self) -> Any:
        if self._handed_over:
            with open(int(self._handed_over), "rb") as file:
                self._handed_over = None
                return InvocationRequest(**pickle.load(file))
        invocation = super().wait_next_invocation()
        if not this_process.is_sound(_GRACE):
            self._start_anew(invocation)
        return invocation

    def _start_anew(self, invocation: Any) -> None:
        handed_over = os.memfd_create("invocation", flags=0)  # not close-on-exec
        with open(handed_over, "wb", closefd=False) as file:
            pickle.dump(vars(invocation), file)
        os.lseek(handed_over, 0, os.SEEK_SET)
        os.execve(sys.executable, sys.orig_argv, {**self._environment, _HANDED_OVER: str(handed_over)})


def main() -> None:
    environment = dict(os.environ)  # before AWS's client removes variables from it
    os.environ.pop(_HANDED_OVER, None)
    bootstrap.run(sys.argv[1], RuntimeClient(environment))


if __name__ == "__main__":
    main()
