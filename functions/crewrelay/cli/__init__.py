"""The `crewrelay` command."""
