"""What the stack's child processes agree on with their parent: they say where they listen, and never outlive it."""

import os
import signal
import threading

RECEIVED_AT = "x-crewrelay-received-at"  # the header by which the gateway says when it got a request, in epoch ms
CALLER = "x-crewrelay-caller"  # the header by which it says what the authorizer found out, as JSON
GATEWAY = "x-crewrelay-gateway"  # the header by which it shows that it is the gateway
GATEWAY_VARIABLE = "CREWRELAY_GATEWAY"  # where a crew process finds what it must be
RECYCLED = 75  # exit code, sysexits.h EX_TEMPFAIL: a crew does not come back, and a new process is to be started
MISCONFIGURED = 78  # exit code, sysexits.h EX_CONFIG: starting again would not help


def announce(port: int) -> None:
    """Tell the parent that this process now listens on `port`."""
    print(f"ready {port}", flush=True)


def live_and_die_with_parent() -> None:
    """The parent holds our standard input open for as long as it lives. Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()


def _exit_at_end_of_input() -> None:
    while os.read(0, 1):  # not sys.stdin: a thread inside its buffer breaks the interpreter's own exit
        pass
    os._exit(0)
