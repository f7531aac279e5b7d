"""The domain: what a job is and how it moves. Standard library and pydantic only."""
