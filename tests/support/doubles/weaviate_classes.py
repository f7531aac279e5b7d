"""What a double of Weaviate holds, and the schemas of its classes."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

from tests.support.doubles.weaviate_hybrid import HybridSearch, Tokenization

# What Weaviate adds to a schema. Its client reads all of it.
_DEFAULTS: dict[str, Any] = {
    "description": "",
    "invertedIndexConfig": {
        "bm25": {"b": 0.75, "k1": 1.2},
        "cleanupIntervalSeconds": 60,
        "stopwords": {"additions": None, "preset": "en", "removals": None},
    },
    "multiTenancyConfig": {"enabled": False, "autoTenantCreation": False, "autoTenantActivation": False},
    "replicationConfig": {"factor": 1, "asyncEnabled": False, "deletionStrategy": "NoAutomatedResolution"},
    "shardingConfig": {
        "actualCount": 1,
        "actualVirtualCount": 128,
        "desiredCount": 1,
        "desiredVirtualCount": 128,
        "function": "murmur3",
        "key": "_id",
        "strategy": "hash",
        "virtualPerPhysical": 128,
    },
    "vectorIndexConfig": {
        "cleanupIntervalSeconds": 300,
        "distance": "cosine",
        "dynamicEfFactor": 8,
        "dynamicEfMax": 500,
        "dynamicEfMin": 100,
        "ef": -1,
        "efConstruction": 128,
        "filterStrategy": "sweeping",
        "flatSearchCutoff": 40000,
        "maxConnections": 32,
        "skip": False,
        "vectorCacheMaxObjects": 1000000000000,
    },
    "vectorIndexType": "hnsw",
    "vectorizer": "none",
}
_PROPERTY = {"indexFilterable": True, "indexSearchable": True, "tokenization": "word"}


class Object(NamedTuple):
    properties: dict[str, Any]
    vector: npt.NDArray[np.float32]  # of length 1, or empty


class Missing(Exception):
    """There is no such class."""


class WrongLength(Exception):
    """Vectors of another length are in the class."""


_LENGTHS = "vector lengths don't match"


class Class:
    """One class and its objects. Its index is made anew at the first search after a write."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = _merged(_DEFAULTS, schema)
        self.schema["properties"] = [_PROPERTY | one for one in schema.get("properties", [])]
        self.objects: dict[UUID, Object] = {}
        self._searches: dict[tuple[str, ...], HybridSearch] = {}

    def put(self, objects: dict[UUID, Object]) -> None:
        self.objects |= objects
        self._searches = {}

    def remove(self, ids: Iterable[UUID]) -> None:
        self.objects = {id_: one for id_, one in self.objects.items() if id_ not in set(ids)}
        self._searches = {}

    def where(self, matches: Callable[[UUID, Object], bool]) -> list[UUID]:
        """In the order of their ids, as Weaviate lists them."""
        return sorted(id_ for id_, one in self.objects.items() if matches(id_, one))

    def hybrid(
        self, query: str, vector: npt.NDArray[np.float32], properties: tuple[str, ...], alpha: float, limit: int
    ) -> list[tuple[UUID, float]]:
        held = next((one.vector.size for one in self.objects.values() if one.vector.size), 0)
        if held and held != vector.size:
            raise WrongLength(f"distance between entrypoint and query node: {held} vs {vector.size}: {_LENGTHS}")
        if properties not in self._searches:
            self._searches[properties] = self._search(properties)
        return self._searches[properties].best(query, vector, alpha, limit)

    def _search(self, properties: tuple[str, ...]) -> HybridSearch:
        with_vectors = {id_: one for id_, one in self.objects.items() if one.vector.size}
        tokenizations = {one["name"]: Tokenization(one["tokenization"]) for one in self.schema["properties"]}
        texts = {
            id_: [(str(one.properties.get(name, "")), tokenizations[name]) for name in properties]
            for id_, one in with_vectors.items()
        }
        return HybridSearch(texts, {id_: one.vector for id_, one in with_vectors.items()})


class Classes:
    """All classes, one caller at a time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._classes: dict[str, Class] = {}

    def __getitem__(self, name: str) -> Class:
        if name not in self._classes:
            raise Missing(f"could not find class {name} in schema")
        return self._classes[name]

    def create(self, schema: dict[str, Any]) -> bool:
        """False if there is one of that name, in whatever case."""
        if schema["class"].lower() in {name.lower() for name in self._classes}:
            return False
        self._classes[schema["class"]] = Class(schema)
        return True

    def write(self, name: str, id_: UUID, one: Object, auto_schema: bool) -> None:
        """With auto-schema, a class that is missing is made as Weaviate guesses it."""
        if auto_schema and name not in self._classes:
            self.create(
                {"class": name, "properties": [{"name": each, "dataType": ["text"]} for each in one.properties]}
            )
        self[name].put({id_: one})

    def delete(self, name: str) -> None:
        self._classes.pop(name, None)

    def schemas(self) -> list[dict[str, Any]]:
        return [one.schema for one in self._classes.values()]


def _merged(default: Any, given: Any) -> Any:
    if isinstance(default, dict) and isinstance(given, dict):
        return {key: _merged(default.get(key), given.get(key, default.get(key))) for key in default | given}
    return given
