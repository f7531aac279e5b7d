"""The knowledge of a project's crews and agents: each search of it goes to the journal of its run, see ambient.py.

It is kept in the run's memory and searched exactly, with the scores that CrewAI's own store would give. Its sources are
embedded when a search is not in the journal, so a run that is replayed embeds nothing. CrewAI's own store is a folder
that all crews of a process share, and it answers a search that fails as if nothing had been found.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from crewai.knowledge.storage.base_knowledge_storage import BaseKnowledgeStorage
from crewai.rag.chromadb.config import _default_embedding_function
from crewai.rag.types import SearchResult
from pydantic import PrivateAttr

from crewrelay.crews.journal.ambient import in_a_run, journal_for
from crewrelay.crews.journal.embedding import embedder_of
from crewrelay.crews.models.failures import ToolUnavailable, may_pass
from crewrelay.jobs.records.journal import Kind, Reply

_AT_ONCE = 100  # texts of a request to the embedder


def storage_of_run(embedder: Any, collection: str | None) -> "RunKnowledge | None":
    """Outside of a run CrewAI's own."""
    return RunKnowledge(embedder, collection or "") if in_a_run() else None


class RunKnowledge(BaseKnowledgeStorage):
    _embedder: Any = PrivateAttr()
    _name: str = PrivateAttr()
    _texts: list[str] = PrivateAttr(default_factory=list)
    _vectors: Any = PrivateAttr(default=None)  # of all texts, normalised

    def __init__(self, embedder: Any, name: str) -> None:
        super().__init__()
        self._embedder = embedder
        self._name = name

    def save(self, documents: list[str]) -> None:
        self._texts += documents
        self._vectors = None

    def reset(self) -> None:
        self._texts, self._vectors = [], None

    def search(
        self,
        query: list[str],
        limit: int = 5,
        metadata_filter: dict[str, Any] | None = None,
        score_threshold: float = 0.6,
    ) -> list[SearchResult]:
        journal = journal_for("a search of knowledge")
        if journal is None or not self._texts:
            return []
        text = " ".join(query)
        request = {"knowledge": self._name, "query": text, "limit": limit, "score": score_threshold}

        def pay() -> Reply:
            try:
                return Reply(body=json.dumps(self._found(text, limit, score_threshold)))
            except Exception as error:
                if may_pass(error) and not journal.calls.is_last_attempt:
                    raise ToolUnavailable("search of knowledge") from error  # the job is retried, and so is the search
                raise

        try:
            reply = journal.calls.call(Kind.RETRIEVAL, request, pay)
        except BaseException as error:
            journal.end(error)  # CrewAI would go on without what it knows
            raise
        found: list[SearchResult] = json.loads(reply.body)
        return found

    def _found(self, query: str, limit: int, least: float) -> list[SearchResult]:
        embed = embedder_of(self._embedder, _default_embedding_function)
        if self._vectors is None:
            texts = list(dict.fromkeys(self._texts))
            parts = [_normalised(embed(texts[at : at + _AT_ONCE])) for at in range(0, len(texts), _AT_ONCE)]
            self._texts, self._vectors = texts, np.concatenate(parts)
        scores = (1 + self._vectors @ _normalised(embed([query]))[0]) / 2
        best = np.argsort(-scores, kind="stable")[:limit]
        return [_result(self._texts[at], float(scores[at])) for at in best if scores[at] >= least]

    async def asave(self, documents: list[str]) -> None:
        self.save(documents)

    async def areset(self) -> None:
        self.reset()

    async def asearch(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        return await asyncio.to_thread(self.search, *args, **kwargs)


def _normalised(vectors: Sequence[Any]) -> Any:
    found = np.asarray(vectors, dtype=np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def _result(text: str, score: float) -> SearchResult:
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return SearchResult(id=name, content=text, metadata={}, score=round(min(1.0, max(0.0, score)), 6))
