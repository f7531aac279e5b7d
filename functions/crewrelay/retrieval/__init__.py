"""Passages for the crews to work from: the ports, and the stores, embedders and readers behind them."""

import os

# Haystack's telemetry writes to HOME and posts from a thread; it reads this once, when it is first imported.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")
