"""Mutants that no test can find, because nothing is different: each with the reason."""

EQUIVALENT: dict[str, str] = {}
