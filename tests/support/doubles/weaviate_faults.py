"""What is wrong with a double of Weaviate, and what was asked of it."""

import threading
from collections import Counter
from typing import Any


class Faults:
    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.set({})

    def set(self, faults: dict[str, Any]) -> None:
        self.delay: float = faults.get("delay", 0)  # seconds before a search is answered
        self.unavailable: list[str] = faults.get("unavailable", [])  # gRPC methods
        self.key: str | None = faults.get("key")  # the only one that is let in
        self.read_only: bool = faults.get("read_only", False)  # whoever is let in may not change anything
        self.starting: str = faults.get("starting", "")  # what it says of every class until its schema is loaded
        self.auto_schema: bool = faults.get("auto_schema", True)  # whether a write makes the class that it lacks
        self.version: str = faults.get("version", "1.37.0")

    def admit(self, authorization: str | None) -> bool:
        return self.key is None or authorization == f"Bearer {self.key}"

    def refusal(self, verb: str, resource: str) -> str | None:
        """Why a change is refused, in Weaviate's words; None if it isn't."""
        if not self.read_only:
            return None
        said = f"user 'reader' has insufficient permissions to {verb} [{resource}]"
        return f"adminlist: authorization, forbidden action: {said}"

    def count(self, call: str) -> None:
        with self._lock:
            self.calls[call] += 1
