"""The collections of a store, and the shipped corpus beside them as the read-only collection `shipped`."""

from datetime import timedelta

from crewrelay.retrieval.collection import Collection, Collections, Embedding, require_embedding
from crewrelay.retrieval.embedded.shipped import SHIPPED, SHIPPED_EMBEDDING, ShippedCollection, refuse_change


class WithShipped:
    def __init__(self, store: Collections, shipped: ShippedCollection) -> None:
        self.place = store.place
        self._store = store
        self._shipped = shipped

    def open(self, name: str, embedding: Embedding, timeout: timedelta | None = None) -> Collection:
        if name != SHIPPED:
            return self._store.open(name, embedding, timeout)
        require_embedding(name, SHIPPED_EMBEDDING, embedding)
        return self._shipped

    def create(self, name: str, embedding: Embedding) -> Collection:
        if name == SHIPPED:
            refuse_change()
        return self._store.create(name, embedding)

    def names(self) -> list[str]:
        return sorted({*self._store.names(), SHIPPED})

    def embedding(self, name: str) -> Embedding:
        return SHIPPED_EMBEDDING if name == SHIPPED else self._store.embedding(name)

    def delete(self, name: str) -> None:
        if name == SHIPPED:
            refuse_change()
        self._store.delete(name)

    def close(self) -> None:
        self._store.close()
