"""Passages for the crews to work from. Embedded default: `crewrelay.retrieval.embedded.EmbeddedRetriever`."""

import os

# Haystack's telemetry writes to HOME and posts from a thread; it reads this once, when it is first imported.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")
