"""The embedders of a project's knowledge and memory; those of memory send each request to the journal of its run."""

import base64
import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from crewai.rag.embeddings.factory import build_embedder

from crewrelay.crews.journal.ambient import journal_for
from crewrelay.crews.models.failures import ToolUnavailable, may_pass
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.retrieval.embedders.e5 import EMBEDDER, E5Embedder

Embed = Callable[[list[str]], Sequence[Any]]

_LONGEST = 8_000  # characters, for models accept about 8,000 tokens; CrewAI may remember a whole answer as it is
_KEYS = ("OPENAI_API_KEY", "EMBEDDINGS_OPENAI_API_KEY")


def embedder_of(named: Any, crewais: Callable[[], Embed]) -> Embed:
    """The one that a project names; else CrewAI's, which is OpenAI's; without a key for it, that of our searches."""
    if named:
        embed: Embed = named if callable(named) else build_embedder(named)
        return embed
    return crewais() if _has_a_key() else lambda texts: list(_ours().passages(texts))


def _name(named: Any) -> str:
    """What its vectors depend on, without its key."""
    if isinstance(named, dict):
        config = named.get("config") or {}
        return f"{named.get('provider')}/{config.get('model_name') or config.get('model')}"
    if named:
        return f"{type(named).__qualname__}/{getattr(named, 'model_name', None)}"
    return "openai" if _has_a_key() else EMBEDDER


def _has_a_key() -> bool:
    return any(map(os.environ.get, _KEYS))


@cache
def _ours() -> E5Embedder:
    return E5Embedder()


class JournaledEmbedder:
    """An embedder as CrewAI's memory calls it. `asked` are its requests, `known` has the vectors of their texts."""

    def __init__(self, named: Any, crewais: Callable[[], Embed]) -> None:
        self._named = named
        self._crewais = crewais
        self.asked: list[list[str]] = []
        self.known: dict[str, list[float]] = {}

    def __call__(self, texts: list[str]) -> list[list[float]]:
        journal = journal_for("an embedder")
        if journal is None:
            return decoded(encoded(self._embedded(texts)))
        request: dict[str, Any] = {"embed": texts, "by": _name(self._named)}
        if journal.within:
            request["within"] = journal.within

        def pay() -> Reply:
            try:
                return Reply(body=encoded(self._embedded(texts)))
            except Exception as error:
                if may_pass(error) and not journal.calls.is_last_attempt:
                    raise ToolUnavailable("embedder of memory") from error  # the job is retried, and so is this
                raise

        try:
            vectors = decoded(journal.calls.call(Kind.RETRIEVAL, request, pay).body)
        except BaseException as error:
            journal.end(error)  # CrewAI would go on without what it remembers
            raise
        self.asked.append(texts)
        self.known |= zip(texts, vectors, strict=True)
        return vectors

    def _embedded(self, texts: list[str]) -> Sequence[Any]:
        vectors = embedder_of(self._named, self._crewais)([text[:_LONGEST] for text in texts])
        if len(vectors) != len(texts):
            raise ConnectionError(f"the embedder returned {len(vectors)} vectors for {len(texts)} texts")
        return vectors


def encoded(vectors: Iterable[Any]) -> str:
    """As the journal has them: numbers of four bytes."""
    return json.dumps([base64.b64encode(np.asarray(one, "<f4").tobytes()).decode() for one in vectors])


def decoded(body: str) -> list[list[float]]:
    return [np.frombuffer(base64.b64decode(one), "<f4").tolist() for one in json.loads(body)]
