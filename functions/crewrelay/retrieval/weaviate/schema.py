"""The Weaviate schema of a collection: its two classes, their properties, and the embedder of its vectors.

Passages have the layout of weaviate-haystack's documents (`_original_id`, `content`, the rest is meta), so that its
document store and retrievers can read them.
"""

import json
import re
from typing import Any

from crewrelay.jobs.errors import RetrievalMisconfigured
from crewrelay.retrieval.collection import Embedding, checked_name

LAYOUT = 2  # version of the schema
PASSAGES, DOCUMENTS = "Crewrelay_", "CrewrelayDocuments_"

# Class names have letters, digits and underscores; two names must not differ only in case.
_ESCAPES = {"_": "__", "-": "_h"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}


def passages_class(name: str) -> str:
    return PASSAGES + _escaped(name)


def documents_class(name: str) -> str:
    return DOCUMENTS + _escaped(name)


def collection_name(class_name: str) -> str | None:
    """The collection of a passages class; None for any other class."""
    if not class_name.startswith(PASSAGES):
        return None
    return re.sub("_.", lambda escape: _UNESCAPES.get(escape[0], escape[0]), class_name.removeprefix(PASSAGES))


def passages_schema(name: str, embedding: Embedding) -> dict[str, Any]:
    return {
        "class": passages_class(name),
        "description": json.dumps({**embedding._asdict(), "layout": LAYOUT}),
        "vectorizer": "none",
        "vectorIndexType": "hnsw",
        "vectorIndexConfig": {"distance": "cosine"},
        # No stop words: one language's are another's content words.
        "invertedIndexConfig": {"bm25": {"k1": 1.2, "b": 0.75}, "stopwords": {"preset": "none"}},
        "properties": [
            _text("_original_id"),
            _text("content", searched=True),
            _text("title"),
            _text("url"),
            _text("passage"),
            # The nearest to the 4-grams of the embedded store.
            _text("indexed_text", searched=True) | {"tokenization": "trigram"},
            _text("document", filtered=True),
            _text("revision", filtered=True),
        ],
    }


def documents_schema(name: str) -> dict[str, Any]:
    return {
        "class": documents_class(name),
        "vectorizer": "none",
        "vectorIndexType": "hnsw",
        "vectorIndexConfig": {"skip": True},
        "properties": [_text("source"), _text("digest")],
    }


def embedding_of(name: str, description: str | None) -> Embedding:
    """Parse the description that `passages_schema` wrote. Raises RetrievalMisconfigured."""
    try:
        known = json.loads(description or "")
        layout, embedding = known.pop("layout", 1), Embedding(**known)
    except (AttributeError, TypeError, ValueError) as error:
        raise RetrievalMisconfigured(
            f"The class {passages_class(name)} does not name its embedder: it was not created by crewrelay"
        ) from error
    if layout != LAYOUT:
        raise RetrievalMisconfigured(
            f"The collection {name!r} is from another version of crewrelay: delete it, and ingest its documents again"
        )
    return embedding


def _escaped(name: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in checked_name(name))


def _text(name: str, *, searched: bool = False, filtered: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "dataType": ["text"],
        "indexSearchable": searched,
        "indexFilterable": filtered,
        "tokenization": "word" if searched else "field",
    }
