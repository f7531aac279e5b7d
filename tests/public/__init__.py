"""Other people's projects, unchanged, and how far each comes: `python -m tests.public FOLDER…` prints a table."""
