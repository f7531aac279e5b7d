"""Passages in a collection: put there, found there, and all that an embedded one has."""

from datetime import timedelta

from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Collection, Document
from crewrelay.retrieval.embedded import collection as embedded_collection
from crewrelay.retrieval.embedded.collection import EmbeddedCollection
from tests.support.doubles.embedder import bag_of_words

SOON = timedelta(seconds=5)


def put(collection: Collection, source: str, *texts: str) -> None:
    chunks = [Chunk(f"{source}#{n}", source, f"{source}.txt", "", text, text) for n, text in enumerate(texts, 1)]
    collection.put(Document(source, " ".join(texts)), chunks, [bag_of_words(text) for text in texts])


def found(collection: Collection, query: str) -> list[str]:
    return [passage.text for passage in collection.search(query, bag_of_words(query), 3, SOON)]


def contents(collection: Collection) -> list[Chunk]:
    """Every passage of an embedded collection."""
    assert isinstance(collection, EmbeddedCollection)
    with collection._database.reading(SOON) as connection:
        state = embedded_collection.state(connection, collection._name)
        return embedded_collection._read(connection, state)[0]
