"""A collection in Weaviate. Uses the Weaviate client directly: weaviate-haystack's document store reads the schema and
all vectors with each search, and each of its writes waits a second for more.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import NAMESPACE_DNS, UUID, uuid5

import numpy as np
from weaviate import WeaviateAsyncClient
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter, HybridFusion, MetadataQuery
from weaviate.collections import CollectionAsync
from weaviate.collections.classes.filters import FilterReturn
from weaviate.collections.classes.internal import Object

from crewrelay.jobs.errors import EmbedderMismatch, RetrievalError, RetrievalUnavailable
from crewrelay.jobs.records.answer import Passage
from crewrelay.jobs.text import well_formed
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import ALPHA, Document, Embedding, Vector, require_embedding
from crewrelay.retrieval.passages import CHUNKS_A_PASSAGE, Found, distinct
from crewrelay.retrieval.weaviate.client import Connection
from crewrelay.retrieval.weaviate.schema import ClassNames

BATCH = 64  # objects per request: with passages of 100 KB a tenth of what Weaviate accepts
PAGE = 200
# Weaviate deletes at most this many per request (QUERY_MAXIMUM_RESULTS).
DELETED_AT_ONCE = 10_000
UNFINISHED = ""  # digest of a document while it is put or removed
_ROUNDS = 5  # so often chunks that other writers delete are inserted again


class WeaviateCollection:
    """`check` raises unless the collection is still there, with vectors of the same embedder."""

    def __init__(
        self, connection: Connection, classes: ClassNames, name: str, embedding: Embedding, check: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._passages, self._documents = classes.passages(name), classes.documents(name)
        self._name, self._embedding = name, embedding
        self._check = check
        self._last: tuple[WeaviateAsyncClient, CollectionAsync[Any, Any]] | None = None

    def search(self, query: str, vector: Vector, top_k: int, timeout: timedelta) -> list[Passage]:
        if top_k < 1:
            return []

        async def find(client: WeaviateAsyncClient) -> list[Object[Any, Any]]:
            found = await self._searched(client).query.hybrid(
                query=well_formed(query),
                vector=vector.tolist(),
                alpha=ALPHA,
                fusion_type=HybridFusion.RELATIVE_SCORE,
                query_properties=["indexed_text"],
                limit=CHUNKS_A_PASSAGE * top_k,
                include_vector=True,
                return_properties=["_original_id", "title", "url", "content", "passage", "embedder"],
                return_metadata=MetadataQuery(score=True),
            )
            return found.objects

        try:
            found = self._connection.grpc(find, timeout)
        except EmbedderMismatch as error:
            wanted = f"{self._embedding.embedder} ({self._embedding.dimension} dimensions)"
            raise EmbedderMismatch(f"The collection {self._name!r} holds no vectors of {wanted}: {error}") from error
        for one in found:  # the collection may have been made anew since it was opened
            require_embedding(self._name, _embedding(one), self._embedding)
        return distinct((_found(one, vector) for one in found), top_k)

    def _searched(self, client: WeaviateAsyncClient) -> CollectionAsync[Any, Any]:
        """Made once for each connection: with all that it offers, and its checks of arguments, it takes 0.3 ms."""
        if self._last is None or self._last[0] is not client:
            self._last = client, client.collections.use(self._passages, skip_argument_validation=True)
        return self._last[1]

    def digest(self, source: str) -> str | None:
        """Counts the chunks, too: writers of the same document may have deleted some of each other's."""

        async def look(client: WeaviateAsyncClient) -> str:
            documents = client.collections.use(self._documents)
            known = await documents.query.fetch_object_by_id(_uuid(source), return_properties=["digest"])
            return str(known.properties["digest"]) if known else UNFINISHED

        written = _Written.parse(self._connection.grpc(look))
        if written.revision:
            own = self._count(_of(source) & Filter.by_property("revision").equal(written.revision))
            if not own == self._count(_of(source)) == written.chunks:
                return None
        return written.digest or None

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        """Each revision has chunks of its own, so that writers of the same document don't overwrite each other's.

        Whoever deletes last leaves its own chunks; one whose chunks were deleted meanwhile inserts them again.
        The collection is checked before and after: a server with auto-schema answers a write to a deleted one by making
        classes of its own.
        """
        self._check()
        revision = _revision(document, chunks)
        own = Filter.by_property("revision").equal(revision)
        self._insert(self._documents, [_record(document.source, UNFINISHED)])
        self._insert_chunks(document.source, revision, chunks, vectors)
        self._delete(self._passages, _of(document.source) & Filter.by_property("revision").not_equal(revision))
        for _ in range(_ROUNDS):
            if self._count(_of(document.source) & own) == len(chunks):
                break
            self._insert_chunks(document.source, revision, chunks, vectors)
        else:
            raise RetrievalUnavailable(f"{document.source} is being written by others, too")
        self._check()
        written = _Written(document.digest, revision, len(chunks))
        self._insert(self._documents, [_record(document.source, str(written))])

    def _insert_chunks(self, source: str, revision: str, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        for start in range(0, len(chunks), BATCH):
            batch = zip(chunks[start : start + BATCH], vectors[start : start + BATCH], strict=True)
            objects = [self._object(chunk, vector, source, revision) for chunk, vector in batch]
            self._insert(self._passages, objects)

    def _object(self, chunk: Chunk, vector: Vector, source: str, revision: str) -> DataObject[Any, None]:
        properties = {
            "_original_id": chunk.id,
            "content": chunk.text,
            "passage": chunk.passage,
            "title": chunk.title,
            "url": chunk.url,
            "indexed_text": chunk.indexed_text,
            "document": str(_uuid(source)),
            "revision": revision,
            "embedder": self._embedding.embedder,
        }
        return DataObject(properties, _uuid(f"{chunk.id} {revision}"), vector.tolist())

    def remove(self, source: str) -> None:
        if self.digest(source):
            self._insert(self._documents, [_record(source, UNFINISHED)])
        self._delete(self._passages, _of(source))
        self._delete(self._documents, Filter.by_id().equal(_uuid(source)))

    def documents(self) -> Iterator[Document]:
        """Includes documents whose `put` or `remove` was interrupted, with an empty digest."""
        after: UUID | None = None
        while page := self._page(after):
            yield from (Document(source, _Written.parse(digest).digest) for _, source, digest in page)
            after = page[-1][0]

    def count(self) -> int:
        return self._count(None)

    def _count(self, where: FilterReturn | None) -> int:
        async def count(client: WeaviateAsyncClient) -> int:
            passages = client.collections.use(self._passages)
            return (await passages.aggregate.over_all(filters=where, total_count=True)).total_count or 0

        return self._connection.grpc(count)

    def _page(self, after: UUID | None) -> list[tuple[UUID, str, str]]:
        async def fetch(client: WeaviateAsyncClient) -> list[tuple[UUID, str, str]]:
            found = await client.collections.use(self._documents).query.fetch_objects(
                limit=PAGE, after=after, return_properties=["source", "digest"]
            )
            return [(one.uuid, str(one.properties["source"]), str(one.properties["digest"])) for one in found.objects]

        return self._connection.grpc(fetch)

    def _insert(self, class_name: str, objects: list[DataObject[Any, None]]) -> None:
        """Insert objects, overwriting those with the same ids."""

        async def insert(client: WeaviateAsyncClient) -> None:
            outcome = await client.collections.use(class_name).data.insert_many(objects)
            if outcome.has_errors:
                reasons = {error.message for error in outcome.errors.values()}
                raise RetrievalError(f"Weaviate refused {len(outcome.errors)} objects: {'; '.join(sorted(reasons))}")

        self._connection.grpc(insert)

    def _delete(self, class_name: str, where: FilterReturn) -> None:
        async def delete(client: WeaviateAsyncClient) -> int:
            outcome = await client.collections.use(class_name).data.delete_many(where=where)
            if outcome.failed:
                raise RetrievalError(f"Weaviate could not delete {outcome.failed} objects")
            return outcome.matches

        while self._connection.grpc(delete) >= DELETED_AT_ONCE:
            pass


class _Written(NamedTuple):
    """The property `digest` of a document: of its last `put`. Earlier versions wrote only the digest."""

    digest: str
    revision: str = ""
    chunks: int = 0

    @classmethod
    def parse(cls, text: str) -> "_Written":
        digest, *rest = text.rsplit(" ", 2)
        if len(rest) == 2 and rest[1].isdigit():
            return cls(digest, rest[0], int(rest[1]))
        return cls(text)

    def __str__(self) -> str:
        return f"{self.digest} {self.revision} {self.chunks}"


def _of(source: str) -> FilterReturn:
    """The chunks of a document."""
    return Filter.by_property("document").equal(str(_uuid(source)))


def _record(source: str, digest: str) -> DataObject[Any, None]:
    return DataObject({"source": source, "digest": digest}, _uuid(source))


def _found(found: Object[Any, Any], vector: Vector) -> Found:
    about: Any = found.properties
    return Found(
        id=about["_original_id"],
        title=about["title"],
        url=about["url"],
        text=about["passage"],
        excerpt=about["content"],
        score=found.metadata.score or 0.0,
        similarity=float(np.dot(_array(found.vector["default"]), vector)),
    )


def _array(numbers: Any) -> Vector:
    """In a third of the time that NumPy takes for a list."""
    return np.frombuffer(struct.pack(f"{len(numbers)}f", *numbers), dtype=np.float32)


def _embedding(found: Object[Any, Any]) -> Embedding:
    return Embedding(str(found.properties["embedder"]), len(found.vector["default"]))


def _uuid(name: str) -> UUID:
    return uuid5(NAMESPACE_DNS, name)  # as weaviate-haystack does


def _revision(document: Document, chunks: Sequence[Chunk]) -> str:
    """Identifies one version of a document: chunks of another revision are stale."""
    return hashlib.sha256("\0".join([document.digest, *(chunk.id for chunk in chunks)]).encode()).hexdigest()
