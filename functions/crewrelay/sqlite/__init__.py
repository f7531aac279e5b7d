"""The ports of the domain in one SQLite file: the engine of one machine. What it promises: docs/one-machine.md."""
