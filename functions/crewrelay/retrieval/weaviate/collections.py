"""The collections of a Weaviate server. Import only if configured: the client's import takes 2 s of CPU."""

from weaviate import WeaviateAsyncClient
from weaviate.exceptions import UnexpectedStatusCodeError

from crewrelay.jobs.errors import CollectionMissing, EmbedderMismatch
from crewrelay.retrieval.collection import DOCUMENTS, Embedding
from crewrelay.retrieval.weaviate.client import Connection, WeaviateServer
from crewrelay.retrieval.weaviate.collection import WeaviateCollection
from crewrelay.retrieval.weaviate.errors import is_status
from crewrelay.retrieval.weaviate.schema import (
    collection_name,
    documents_class,
    documents_schema,
    embedding_of,
    passages_class,
    passages_schema,
)


class WeaviateCollections:
    """Connects at the first call. Thread-safe."""

    def __init__(self, server: WeaviateServer) -> None:
        self.place = f"Weaviate at {server.url}"
        self._connection = Connection(server)
        self._opened: dict[tuple[str, Embedding], WeaviateCollection] = {}

    def default(self) -> str:
        return DOCUMENTS

    def open(self, name: str, embedding: Embedding) -> WeaviateCollection:
        """Reads a collection's embedding from the server once, and again after a `delete` here."""
        if opened := self._opened.get((name, embedding)):
            return opened
        held = self.embedding(name)
        if held != embedding:
            raise EmbedderMismatch(
                f"The collection {name} holds vectors of {held.embedder} ({held.dimension} dimensions), "
                f"not of {embedding.embedder} ({embedding.dimension})"
            )
        return self._opened.setdefault((name, embedding), WeaviateCollection(self._connection, name))

    def create(self, name: str, embedding: Embedding) -> WeaviateCollection:
        async def make(client: WeaviateAsyncClient) -> None:
            # The passages class last, so that a collection that can be opened is complete.
            for schema in (documents_schema(name), passages_schema(name, embedding)):
                try:
                    await client.collections.create_from_dict(schema)
                except UnexpectedStatusCodeError as error:
                    if not (is_status(error, 422) and "already exists" in str(error)):
                        raise

        self._connection.write(make)
        return self.open(name, embedding)

    def names(self) -> list[str]:
        async def classes(client: WeaviateAsyncClient) -> list[str]:
            return list(await client.collections.list_all())

        return sorted(filter(None, map(collection_name, self._connection.read(classes))))

    def embedding(self, name: str) -> Embedding:
        class_name = passages_class(name)

        async def describe(client: WeaviateAsyncClient) -> str | None:
            try:
                return (await client.collections.use(class_name).config.get(simple=True)).description
            except UnexpectedStatusCodeError as error:
                if is_status(error, 404):
                    raise CollectionMissing(f"There is no collection {name}") from error
                raise

        return embedding_of(name, self._connection.read(describe))

    def delete(self, name: str) -> None:
        self.embedding(name)

        async def drop(client: WeaviateAsyncClient) -> None:
            # Documents first: if interrupted, the passages left over are replaced by the next `put`.
            await client.collections.delete(documents_class(name))
            await client.collections.delete(passages_class(name))

        self._connection.write(drop)
        self._opened.clear()

    def close(self) -> None:
        """Close the connection; the next call reconnects."""
        self._connection.close()
