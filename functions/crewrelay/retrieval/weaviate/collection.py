"""A collection in Weaviate. Uses the Weaviate client directly: weaviate-haystack's document store reads the schema and
all vectors with each search, and each of its writes waits a second for more.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

import numpy as np
from weaviate import WeaviateAsyncClient
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter, HybridFusion, MetadataQuery
from weaviate.collections.classes.filters import FilterReturn
from weaviate.collections.classes.internal import Object

from crewrelay.jobs.answer import Passage
from crewrelay.jobs.errors import RetrievalError
from crewrelay.jobs.text import well_formed
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import ALPHA, Document, Vector
from crewrelay.retrieval.passages import CHUNKS_A_PASSAGE, distinct
from crewrelay.retrieval.weaviate.client import Connection
from crewrelay.retrieval.weaviate.schema import documents_class, passages_class

BATCH = 64  # objects per request: with passages of 100 KB a tenth of what Weaviate accepts
PAGE = 200
# Weaviate deletes at most this many per request (QUERY_MAXIMUM_RESULTS).
DELETED_AT_ONCE = 10_000
UNFINISHED = ""  # digest of a document while it is put or removed


class WeaviateCollection:
    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._passages, self._documents = passages_class(name), documents_class(name)

    def search(self, query: str, vector: Vector, top_k: int, timeout: timedelta) -> list[Passage]:
        if top_k < 1:
            return []

        async def find(client: WeaviateAsyncClient) -> list[Passage]:
            # The client's argument checks would take 0.2 ms.
            passages = client.collections.use(self._passages, skip_argument_validation=True)
            found = await passages.query.hybrid(
                query=well_formed(query),
                vector=vector.tolist(),
                alpha=ALPHA,
                fusion_type=HybridFusion.RELATIVE_SCORE,
                query_properties=["indexed_text"],
                limit=CHUNKS_A_PASSAGE * top_k,
                include_vector=True,
                return_properties=["_original_id", "title", "url", "content", "passage"],
                return_metadata=MetadataQuery(score=True),
            )
            return distinct((_passage(one, vector) for one in found.objects), top_k)

        return self._connection.read(find, timeout)

    def digest(self, source: str) -> str | None:
        async def look(client: WeaviateAsyncClient) -> str | None:
            documents = client.collections.use(self._documents)
            known = await documents.query.fetch_object_by_id(_uuid(source), return_properties=["digest"])
            return str(known.properties["digest"]) if known else None

        return self._connection.read(look) or None

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        owner = _uuid(document.source)
        revision = _revision(document, chunks)
        self._insert(self._documents, [_record(document.source, UNFINISHED)])
        for start in range(0, len(chunks), BATCH):
            batch = zip(chunks[start : start + BATCH], vectors[start : start + BATCH], strict=True)
            self._insert(self._passages, [_object(chunk, vector, owner, revision) for chunk, vector in batch])
        stale = Filter.by_property("revision").not_equal(revision)
        self._delete(self._passages, Filter.by_property("document").equal(str(owner)) & stale)
        self._insert(self._documents, [_record(*document)])

    def remove(self, source: str) -> None:
        owner = _uuid(source)
        if self.digest(source):
            self._insert(self._documents, [_record(source, UNFINISHED)])
        self._delete(self._passages, Filter.by_property("document").equal(str(owner)))
        self._delete(self._documents, Filter.by_id().equal(owner))

    def documents(self) -> Iterator[Document]:
        """Includes documents whose `put` or `remove` was interrupted, with an empty digest."""
        after: UUID | None = None
        while page := self._page(after):
            yield from (Document(source, digest) for _, source, digest in page)
            after = page[-1][0]

    def count(self) -> int:
        async def count(client: WeaviateAsyncClient) -> int:
            return (await client.collections.use(self._passages).aggregate.over_all(total_count=True)).total_count or 0

        return self._connection.read(count)

    def _page(self, after: UUID | None) -> list[tuple[UUID, str, str]]:
        async def fetch(client: WeaviateAsyncClient) -> list[tuple[UUID, str, str]]:
            found = await client.collections.use(self._documents).query.fetch_objects(
                limit=PAGE, after=after, return_properties=["source", "digest"]
            )
            return [(one.uuid, str(one.properties["source"]), str(one.properties["digest"])) for one in found.objects]

        return self._connection.read(fetch)

    def _insert(self, class_name: str, objects: list[DataObject[Any, None]]) -> None:
        """Insert objects, overwriting those with the same ids."""

        async def insert(client: WeaviateAsyncClient) -> None:
            outcome = await client.collections.use(class_name).data.insert_many(objects)
            if outcome.has_errors:
                reasons = {error.message for error in outcome.errors.values()}
                raise RetrievalError(f"Weaviate refused {len(outcome.errors)} objects: {'; '.join(sorted(reasons))}")

        self._connection.write(insert)

    def _delete(self, class_name: str, where: FilterReturn) -> None:
        async def delete(client: WeaviateAsyncClient) -> int:
            outcome = await client.collections.use(class_name).data.delete_many(where=where)
            if outcome.failed:
                raise RetrievalError(f"Weaviate could not delete {outcome.failed} objects")
            return outcome.matches

        while self._connection.write(delete) >= DELETED_AT_ONCE:
            pass


def _object(chunk: Chunk, vector: Vector, owner: UUID, revision: str) -> DataObject[Any, None]:
    properties = {
        "_original_id": chunk.id,
        "content": chunk.text,
        "passage": chunk.passage,
        "title": chunk.title,
        "url": chunk.url,
        "indexed_text": chunk.indexed_text,
        "document": str(owner),
        "revision": revision,
    }
    return DataObject(properties, _uuid(chunk.id), vector.tolist())


def _record(source: str, digest: str) -> DataObject[Any, None]:
    return DataObject({"source": source, "digest": digest}, _uuid(source))


def _passage(found: Object[Any, Any], vector: Vector) -> Passage:
    about: Any = found.properties
    return Passage(
        id=about["_original_id"],
        title=about["title"],
        url=about["url"],
        text=about["passage"],
        excerpt=about["content"],
        score=found.metadata.score or 0.0,
        similarity=float(np.dot(np.asarray(found.vector["default"], dtype=np.float32), vector)),
    )


def _uuid(name: str) -> UUID:
    return uuid5(NAMESPACE_DNS, name)  # as weaviate-haystack does


def _revision(document: Document, chunks: Sequence[Chunk]) -> str:
    """Identifies one version of a document: chunks of another revision are stale."""
    return hashlib.sha256("\0".join([document.digest, *(chunk.id for chunk in chunks)]).encode()).hexdigest()
