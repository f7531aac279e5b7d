"""Checks crews, builds them, and runs them for one job; the parts of CrewAI that are replaced for that."""
