"""Disables the garbage collector during a cold start: imports create many objects and hardly any garbage.

Importing this module disables it, so a handler imports it first. `over` enables it again and freezes the imported
objects, so that no collection ever scans them.
"""

import gc

gc.disable()


def over() -> None:
    gc.freeze()
    gc.enable()
