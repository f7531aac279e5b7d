"""How much is measured. BENCH_SHORT=1 measures little of everything, to try a change of the measurements themselves."""

import os

SHORT = bool(os.environ.get("BENCH_SHORT"))
AWS = not SHORT  # the emulator, which does not start in time on a machine that is busy with something else
STARTS_WITHIN = 300  # seconds; a quiet machine takes ten


def size(full: int, short: int) -> int:
    return short if SHORT else full
