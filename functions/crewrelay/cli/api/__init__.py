"""A deployment's API: its address and token, and the client of its routes."""
