"""The embedded passage store: collections in a SQLite file, searched in memory, plus the shipped corpus."""
