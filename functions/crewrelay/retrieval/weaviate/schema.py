"""The Weaviate schema of a collection: its two classes, their properties, and the embedder of its vectors.

Passages have the layout of weaviate-haystack's documents (`_original_id`, `content`, the rest is meta), so that its
document store and retrievers can read them.
"""

import json
import re
from string import ascii_uppercase
from typing import Any

from crewrelay.jobs.errors import RetrievalMisconfigured
from crewrelay.retrieval.collection import Embedding, checked_name

LAYOUT = 3  # version of the schema
LONGEST = 255  # characters of a class name

# Class names have letters, digits and underscores; two names must not differ only in case.
_ESCAPES = {"_": "__", "-": "_h"} | {letter: f"_u{letter.lower()}" for letter in ascii_uppercase}
_UNESCAPES = {"__": "_", "_h": "-"}  # collections have no upper-case letters
_OF = "_c_"  # between stack and collection; no escape begins like it


class ClassNames:
    """The names of a stack's classes: they carry its name, so that stacks on one server don't meet."""

    def __init__(self, stack: str) -> None:
        self._passages = f"Crewrelay_{_escaped(stack)}{_OF}"
        self._documents = f"CrewrelayDocuments_{_escaped(stack)}{_OF}"

    def passages(self, name: str) -> str:
        return self._passages + _escaped(checked_name(name))

    def documents(self, name: str) -> str:
        found = self._documents + _escaped(checked_name(name))
        if len(found) > LONGEST:
            raise RetrievalMisconfigured(f"The names of the stack and of the collection {name} are too long together")
        return found

    def collection(self, class_name: str) -> str | None:
        """The collection of a passages class; None for any other class."""
        if not class_name.startswith(self._passages):
            return None
        escaped = class_name.removeprefix(self._passages)
        return re.sub("_.", lambda escape: _UNESCAPES.get(escape[0], escape[0]), escaped)


def passages_schema(class_name: str, embedding: Embedding) -> dict[str, Any]:
    return {
        "class": class_name,
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
            _text("embedder"),
        ],
    }


def documents_schema(class_name: str) -> dict[str, Any]:
    return {
        "class": class_name,
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
            f"The collection {name!r} does not name its embedder: crewrelay did not create it. {_AGAIN.format(name)}"
        ) from error
    if layout != LAYOUT:
        raise RetrievalMisconfigured(
            f"The collection {name!r} is from another version of crewrelay. {_AGAIN.format(name)}"
        )
    return embedding


_AGAIN = "Delete it with `crewrelay collections delete {}`, and ingest its documents again."


def _escaped(name: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in name)


def _text(name: str, *, searched: bool = False, filtered: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "dataType": ["text"],
        "indexSearchable": searched,
        "indexFilterable": filtered,
        "tokenization": "word" if searched else "field",
    }
