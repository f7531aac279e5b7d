"""The embedded collections: in a SQLite file on this disk, searched in this process."""

import threading
from datetime import timedelta
from pathlib import Path

from crewrelay.retrieval.collection import Collection, Embedding, checked_name
from crewrelay.retrieval.embedded.collection import EmbeddedCollection, state
from crewrelay.retrieval.embedded.database import Database
from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS
from crewrelay.retrieval.embedded.shipped import SHIPPED, ShippedCollection
from crewrelay.retrieval.embedders.e5 import E5Embedder
from crewrelay.retrieval.retriever import TIMEOUT, CollectionRetriever

FILE = "collections.sqlite"


class EmbeddedRetriever(CollectionRetriever):
    """Searches the shipped corpus, or another one with a prebuilt index."""

    def __init__(self, corpus: Path = SHIPPED_CORPUS) -> None:
        collection = ShippedCollection(corpus)
        super().__init__(lambda *_: collection, [SHIPPED], E5Embedder())


class EmbeddedCollections:
    """The collections of a folder. Thread-safe.

    `timeout` is how long operations other than search wait for another process that writes.
    """

    def __init__(self, folder: Path, timeout: timedelta = TIMEOUT) -> None:
        self.place = f"the folder {folder}"
        self._database = Database(folder / FILE)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._opened: dict[tuple[str, Embedding], EmbeddedCollection] = {}

    def open(self, name: str, embedding: Embedding, timeout: timedelta | None = None) -> Collection:
        with self._database.reading(timeout or self._timeout) as connection:
            state(connection, checked_name(name), embedding)
        return self._collection(name, embedding)

    def create(self, name: str, embedding: Embedding) -> Collection:
        checked_name(name)  # before the file is created
        with self._database.writing(self._timeout) as connection:
            connection.execute(
                "INSERT INTO collections (name, embedder, dimension) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (name, *embedding),
            )
            state(connection, name, embedding)
        return self._collection(name, embedding)

    def names(self) -> list[str]:
        with self._database.reading(self._timeout) as connection:
            return sorted(name for (name,) in connection.execute("SELECT name FROM collections"))

    def embedding(self, name: str) -> Embedding:
        with self._database.reading(self._timeout) as connection:
            return state(connection, checked_name(name)).embedding

    def delete(self, name: str) -> None:
        self.embedding(name)  # raises before `writing` would create the file
        with self._database.writing(self._timeout) as connection:
            connection.execute("DELETE FROM collections WHERE id = ?", (state(connection, name).id,))

    def close(self) -> None:
        """Nothing to do: connections are not kept open."""

    def _collection(self, name: str, embedding: Embedding) -> EmbeddedCollection:
        """The same instance each time, because it caches what it has loaded."""
        collection = EmbeddedCollection(self._database, name, embedding, self._timeout)
        with self._lock:
            return self._opened.setdefault((name, embedding), collection)
