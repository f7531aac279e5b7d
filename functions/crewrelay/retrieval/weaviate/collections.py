"""The collections of a stack in Weaviate. Import only if configured: the client's import takes 2 s of CPU."""

from datetime import timedelta
from functools import partial
from typing import Any

from weaviate import WeaviateAsyncClient
from weaviate.exceptions import UnexpectedStatusCodeError

from crewrelay.jobs.errors import CollectionMissing
from crewrelay.retrieval.collection import Embedding, require_embedding
from crewrelay.retrieval.weaviate.client import Connection
from crewrelay.retrieval.weaviate.collection import WeaviateCollection
from crewrelay.retrieval.weaviate.errors import is_status
from crewrelay.retrieval.weaviate.schema import ClassNames, documents_schema, embedding_of, passages_schema
from crewrelay.retrieval.weaviate.server import WeaviateServer


class WeaviateCollections:
    """Connects at the first call. Thread-safe."""

    def __init__(self, server: WeaviateServer, stack: str) -> None:
        self.place = f"Weaviate at {server.url}"
        self._connection = Connection(server)
        self._replicas = server.replication_factor
        self._classes = ClassNames(stack)
        self._opened: dict[tuple[str, Embedding], WeaviateCollection] = {}

    def open(self, name: str, embedding: Embedding, timeout: timedelta | None = None) -> WeaviateCollection:
        """Asks the server once for each collection. From then on searches notice that it was made anew."""
        if opened := self._opened.get((name, embedding)):
            return opened
        self._require(name, embedding, timeout)
        return self._remembered(name, embedding)

    def create(self, name: str, embedding: Embedding) -> WeaviateCollection:
        # The passages class last, so that a collection that can be opened is complete.
        for schema in (
            documents_schema(self._classes.documents(name)),
            passages_schema(self._classes.passages(name), embedding),
        ):
            if not self._exists(schema["class"]):  # the key may lack the right to create
                self._make(schema)
        self._require(name, embedding)
        return self._remembered(name, embedding)

    def names(self) -> list[str]:
        async def classes(client: WeaviateAsyncClient) -> list[str]:
            return list(await client.collections.list_all())

        return sorted(filter(None, map(self._classes.collection, self._connection.http(classes))))

    def embedding(self, name: str, timeout: timedelta | None = None) -> Embedding:
        class_name = self._classes.passages(name)

        async def describe(client: WeaviateAsyncClient) -> str | None:
            try:
                return (await client.collections.use(class_name).config.get(simple=True)).description
            except UnexpectedStatusCodeError as error:
                if is_status(error, 404):
                    raise CollectionMissing(f"There is no collection {name}") from error
                raise

        return embedding_of(name, self._connection.http(describe, timeout))

    def delete(self, name: str) -> None:
        """Whatever its classes hold, and if one of them is all that is left of it."""
        # Documents first: if interrupted, the passages left over are replaced by the next `put`.
        there = [one for one in (self._classes.documents(name), self._classes.passages(name)) if self._exists(one)]
        if not there:
            raise CollectionMissing(f"There is no collection {name}")

        async def drop(client: WeaviateAsyncClient) -> None:
            for class_name in there:
                await client.collections.delete(class_name)

        self._connection.http(drop)
        self._opened.clear()

    def close(self) -> None:
        """Close the connection; the next call reconnects."""
        self._connection.close()

    def _exists(self, class_name: str) -> bool:
        async def ask(client: WeaviateAsyncClient) -> bool:
            if await client.collections.exists(class_name):
                return True
            raise CollectionMissing(class_name)  # a server that is starting says so of all

        try:
            return self._connection.http(ask)
        except CollectionMissing:
            return False

    def _make(self, schema: dict[str, Any]) -> None:
        if self._replicas:
            schema = {**schema, "replicationConfig": {"factor": self._replicas}}

        async def make(client: WeaviateAsyncClient) -> None:
            try:
                await client.collections.create_from_dict(schema)
            except UnexpectedStatusCodeError as error:
                if not (is_status(error, 422) and "already exists" in str(error)):
                    raise

        self._connection.http(make)

    def _require(self, name: str, embedding: Embedding, timeout: timedelta | None = None) -> None:
        """Raises CollectionMissing and EmbedderMismatch."""
        require_embedding(name, self.embedding(name, timeout), embedding)

    def _remembered(self, name: str, embedding: Embedding) -> WeaviateCollection:
        """The same instance each time."""
        check = partial(self._require, name, embedding)
        collection = WeaviateCollection(self._connection, self._classes, name, embedding, check)
        return self._opened.setdefault((name, embedding), collection)
