"""The `crewrelay` command."""

import sys


def main() -> None:
    try:
        from crewrelay.cli import commands
    except ModuleNotFoundError as missing:
        sys.exit(f"crewrelay: the package {missing.name} is missing; install crewrelay[local]")
    commands.app()
