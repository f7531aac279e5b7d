"""The AWS emulator, whose threads take turns every microsecond: what may collide, does."""

import sys

from crewrelay.local.emulator import main

if __name__ == "__main__":
    sys.setswitchinterval(1e-6)
    main()
