"""Retrieval of passages: the ports, and the stores, embedders and document readers behind them."""

import os

# Haystack's telemetry writes to HOME and posts from a thread. It reads this variable when first imported.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")
