"""The protocol between the stack and its child processes: they announce their port and exit with their parent."""

import os
import signal
import threading
from collections.abc import Callable

RECEIVED_AT = "x-crewrelay-received-at"  # header of the gateway: when it received the request, in epoch ms
CALLER = "x-crewrelay-caller"  # header of the gateway: the authorizer's context, as JSON
GATEWAY = "x-crewrelay-gateway"  # header of the gateway: the secret that proves where the request comes from
GATEWAY_VARIABLE = "CREWRELAY_GATEWAY"  # environment variable of crew processes with that secret
RECYCLED = 75  # exit code, sysexits.h EX_TEMPFAIL: a crew does not stop, restart the process
MISCONFIGURED = 78  # exit code, sysexits.h EX_CONFIG: a restart would not help


def announce(port: int) -> None:
    """Tell the parent that this process listens on `port`."""
    print(f"ready {port}", flush=True)


def live_and_die_with_parent(wake: Callable[[], None] = lambda: None) -> None:
    """Exit when standard input closes, which the parent holds open, and call `wake` when it writes something. Ignore
    Ctrl-C, which the parent handles.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_at_end_of_input, args=(wake,), daemon=True).start()


def _exit_at_end_of_input(wake: Callable[[], None]) -> None:
    while os.read(0, 4096):  # not sys.stdin: a thread blocked in its buffer breaks the interpreter's exit
        wake()
    os._exit(0)
