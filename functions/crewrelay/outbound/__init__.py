"""Requests to addresses that callers name: what may be called, and how."""
