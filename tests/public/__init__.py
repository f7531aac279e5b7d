"""Other people's projects, unchanged: how far each of them comes here. `python -m tests.public FOLDER…` prints a table."""
