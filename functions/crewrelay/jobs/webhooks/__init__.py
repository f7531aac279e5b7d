"""Telling callers' servers what happens to their jobs: signed, in order, again until they accept."""
