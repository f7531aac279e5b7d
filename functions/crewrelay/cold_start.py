"""Spares a cold start the garbage collector: imports make many objects and hardly any garbage.

Importing this module stops the collector, so a handler imports it first; `over` starts it again and keeps what was
imported out of its sight for good.
"""

import gc

gc.disable()


def over() -> None:
    gc.freeze()
    gc.enable()
