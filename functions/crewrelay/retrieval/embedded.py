"""The embedded default of the retrieval port: the shipped corpus, searched in this process."""

import threading
from pathlib import Path

from haystack import Document, Pipeline

from crewrelay.jobs.answer import Passage
from crewrelay.retrieval.embedder import E5Embedder
from crewrelay.retrieval.index import SHIPPED_CORPUS, load_index
from crewrelay.retrieval.pipeline import build_pipeline

# How many of each search are fused, as many as Weaviate's hybrid search of a few results takes.
CANDIDATES = 20


class EmbeddedRetriever:
    """Searches one corpus. Loads it on the first search; safe to use from many threads at once."""

    def __init__(self, corpus: Path = SHIPPED_CORPUS) -> None:
        self._corpus = corpus
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None

    def retrieve(self, query: str, top_k: int = 5) -> list[Passage]:
        """The `top_k` passages that fit best, best first, their scores from 0 to 1; none for a blank query.

        Raises StaleIndexError if the index does not fit the corpus, CorpusError if the corpus can't be read.
        """
        if not query.strip() or top_k < 1:
            return []
        candidates = max(CANDIDATES, top_k)
        outputs = self._loaded().run(
            {
                "embedder": {"query": query},
                "dense": {"top_k": candidates},
                "keyword": {"query": query, "top_k": candidates},
                "fusion": {"top_k": top_k},
            }
        )
        return [_passage(document) for document in outputs["fusion"]["documents"]]

    def _loaded(self) -> Pipeline:
        if self._pipeline is None:
            with self._lock:
                if self._pipeline is None:
                    self._pipeline = build_pipeline(load_index(self._corpus), E5Embedder())
        return self._pipeline


def _passage(document: Document) -> Passage:
    return Passage(
        id=document.id,
        title=document.meta["title"],
        url=document.meta["url"],
        text=document.content or "",
        score=document.score or 0.0,
    )
