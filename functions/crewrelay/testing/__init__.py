"""In-memory versions of the domain's ports, for tests. They pass the same contract tests as the engines
(tests/integration/test_store_*.py).
"""

from crewrelay.testing.batches import MemoryBatches
from crewrelay.testing.doorbell import MemoryDoorbell
from crewrelay.testing.job_store import MemoryJobStore
from crewrelay.testing.tokens import MemoryTokens
from crewrelay.testing.unjournaled import Unjournaled
from crewrelay.testing.webhooks import MemorySigningSecrets, MemorySubscriptions

__all__ = [
    "MemoryBatches",
    "MemoryDoorbell",
    "MemoryJobStore",
    "MemorySigningSecrets",
    "MemorySubscriptions",
    "MemoryTokens",
    "Unjournaled",
]
