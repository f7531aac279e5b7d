"""AWS's runtime client for the crews' image, which starts the process anew when it is no longer sound.

    python -m crewrelay.aws.runtime worker.handler.handler

Lambda holds an answer back until the runtime asks for the next invocation. So that is asked for, and then handed over
to the new process, which takes the place of the old one by exec. Lambda sees no process end, and no invocation fails:
this one waits as long as for a cold start.
"""

import os
import pickle
import sys
from typing import Any

from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import InvocationRequest, LambdaRuntimeClient

from crewrelay.system import this_process

_GRACE = 1.0  # seconds that the crews of earlier invocations have to stop once Lambda has thawed them
_HANDED_OVER = "CREWRELAY_INVOCATION"  # the variable with the file descriptor


class RuntimeClient(LambdaRuntimeClient):  # type: ignore[misc]  # AWS's is not typed
    """`environment` is that of the new process."""

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
        handed_over = os.memfd_create("invocation", flags=0)  # and not to be closed by exec
        with open(handed_over, "wb", closefd=False) as file:
            pickle.dump(vars(invocation), file)
        os.lseek(handed_over, 0, os.SEEK_SET)
        os.execve(sys.executable, sys.orig_argv, {**self._environment, _HANDED_OVER: str(handed_over)})


def main() -> None:
    environment = dict(os.environ)  # before AWS's client takes something out of it
    os.environ.pop(_HANDED_OVER, None)
    bootstrap.run(sys.argv[1], RuntimeClient(environment))


if __name__ == "__main__":
    main()
