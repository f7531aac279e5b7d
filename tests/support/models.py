"""A scripted model on a model server that a test shares with others; see doubles/model_server.py."""

import uuid
from collections import Counter
from typing import Any

import httpx


class ScriptedModel:
    def __init__(self, server: int, *script: str) -> None:
        self.url = f"http://127.0.0.1:{server}/models/{uuid.uuid4()}"
        self._client = httpx.Client(base_url=self.url, timeout=30)
        self.script(*script)

    def script(self, *script: str) -> None:
        """From now on it is another one, with options of its own, that nobody has called yet."""
        self._client.put(self.url, json=script).raise_for_status()

    def calls(self) -> int:
        """How many reached it."""
        count: int = self._client.get("/calls").json()
        return count

    def embedded(self) -> list[list[str]]:
        """The texts of each request for embeddings."""
        texts: list[list[str]] = self._client.get("/embedded").json()
        return texts

    def log(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self._client.get("/log").json()
        return calls

    def calls_by(self, name: str) -> Counter[str]:
        """How many calls reached it, by "topic", "caller" or "digest"."""
        return Counter(str(call[name]) for call in self.log())

    def close(self) -> None:
        self._client.close()
