"""The Haystack pipeline of the embedded store: each chunk is scored by meaning and by words, and the best sums win.

Haystack's in-memory retrievers loop over all documents in Python for each query. And a sum over their best results only
would lose those that are fair by both scores, as many are if question and text are in two languages.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from haystack import Document, Pipeline, component

from crewrelay.jobs.records.answer import Passage
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import ALPHA
from crewrelay.retrieval.embedded.keywords import KeywordIndex
from crewrelay.retrieval.embedded.sentences import SentenceSearch
from crewrelay.retrieval.passages import CHUNKS_A_PASSAGE, Found, distinct

Floats = npt.NDArray[np.float32]


@component
class DenseScores:
    """Of each row of the matrix: its cosine similarity to a vector."""

    def __init__(self, embeddings: Floats) -> None:
        self._embeddings = embeddings

    @component.output_types(scores=Floats)
    def run(self, embedding: Floats) -> dict[str, Floats]:
        # Not `@`: OpenBLAS would wake its threads for half a millisecond of work.
        return {"scores": np.einsum("ij,j->i", self._embeddings, embedding)}


@component
class KeywordScores:
    """Of each text: how much of the query's 4-grams it has."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._index = KeywordIndex(texts)

    @component.output_types(scores=Floats)
    def run(self, query: str) -> dict[str, Floats]:
        return {"scores": self._index.scores(query)}


@component
class WeightedSum:
    """The documents with the highest sums of both scores, weighted with alpha and 1 − alpha."""

    def __init__(self, documents: Sequence[Document], alpha: float = ALPHA) -> None:
        self._documents = documents
        self._alpha = alpha

    @component.output_types(documents=list[Document])
    def run(self, dense: Floats, keyword: Floats, top_k: int) -> dict[str, list[Document]]:
        sums = self._alpha * dense + (1 - self._alpha) * keyword
        # Stable sort: equal scores keep the order of the corpus.
        rows = np.argsort(-sums, kind="stable")[:top_k]
        return {"documents": [replace(self._documents[row], score=float(sums[row])) for row in rows]}


class PassageSearch:
    """The pipeline over chunks and their vectors; row i belongs to chunks[i]. Thread-safe."""

    def __init__(self, chunks: Sequence[Chunk], vectors: Floats, sentences: SentenceSearch | None = None) -> None:
        self._chunks, self._vectors, self._sentences = chunks, vectors, sentences
        documents = [Document(id=one.id, content=one.text, meta={"row": row}) for row, one in enumerate(chunks)]
        self._pipeline = Pipeline()
        self._pipeline.add_component("dense", DenseScores(vectors))
        self._pipeline.add_component("keyword", KeywordScores([chunk.indexed_text for chunk in chunks]))
        self._pipeline.add_component("sum", WeightedSum(documents))
        self._pipeline.connect("dense.scores", "sum.dense")
        self._pipeline.connect("keyword.scores", "sum.keyword")

    def search(self, query: str, vector: Floats, top_k: int) -> list[Passage]:
        # The vector is an array, because the pipeline would copy a list number by number, 4 ms per query.
        outputs = self._pipeline.run(
            {
                "dense": {"embedding": vector},
                "keyword": {"query": query},
                "sum": {"top_k": CHUNKS_A_PASSAGE * top_k},
            }
        )
        passages = distinct((self._found(one, vector) for one in outputs["sum"]["documents"]), top_k)
        return self._sentences.told(passages, vector) if self._sentences else passages

    def _found(self, document: Document, vector: Floats) -> Found:
        row: int = document.meta["row"]
        chunk = self._chunks[row]
        return Found(
            id=chunk.id,
            title=chunk.title,
            url=chunk.url,
            text=chunk.passage,
            excerpt=chunk.text,
            score=document.score or 0.0,
            similarity=float(np.einsum("i,i", self._vectors[row], vector)),
        )
