"""What the checks of `crewrelay doctor` are."""

from collections.abc import Callable

Check = tuple[str, Callable[[], str]]  # what is checked; returns what was found, or raises
