"""The domain: jobs, their states and transitions. Standard library and pydantic only."""
