"""The Haystack pipeline of the embedded default: keyword and dense search, their scores fused.

Haystack's own in-memory retrievers go through every document in Python for every query; these two hold a matrix and
posting lists, and rank the same documents in a few hundred microseconds.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from haystack import Document, Pipeline, component

from crewrelay.retrieval.embedder import E5Embedder
from crewrelay.retrieval.index import Index

# The weight of the dense scores; the keyword scores have the rest. Reciprocal ranks instead halve recall across
# languages, where keywords match only noise.
ALPHA = 0.85

Floats = npt.NDArray[np.float32]

_TOKEN = re.compile(r"\w+")


@component
class QueryEmbedder:
    """The query as a vector: an array, because the pipeline copies a list number by number, for 4 ms a query."""

    def __init__(self, embedder: E5Embedder) -> None:
        self._embedder = embedder

    @component.output_types(embedding=Floats)
    def run(self, query: str) -> dict[str, Floats]:
        return {"embedding": self._embedder.query(query)}


@component
class DenseRetriever:
    """The documents nearest to a vector. Their scores are cosines."""

    def __init__(self, documents: list[Document], embeddings: Floats) -> None:
        self._documents = documents
        self._embeddings = embeddings

    @component.output_types(documents=list[Document])
    def run(self, embedding: Floats, top_k: int) -> dict[str, list[Document]]:
        # Not `@`: OpenBLAS would wake its threads for half a millisecond's work.
        cosines = np.einsum("ij,j->i", self._embeddings, embedding)
        return {"documents": _best(self._documents, cosines, top_k)}


@component
class KeywordRetriever:
    """The documents with the highest BM25 scores (k1 1.2, b 0.75), none that shares no word with the query."""

    def __init__(self, documents: list[Document], texts: list[str]) -> None:
        self._documents = documents
        self._postings = _postings([_tokens(text) for text in texts])

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int) -> dict[str, list[Document]]:
        scores = np.zeros(len(self._documents), dtype=np.float32)
        for token in sorted(set(_tokens(query))):
            if token in self._postings:
                rows, weights = self._postings[token]
                scores[rows] += weights
        return {"documents": _best(self._documents, scores, min(top_k, int(np.count_nonzero(scores))))}


@component
class RelativeScoreFusion:
    """Both lists' scores, each scaled to 0…1 over its list, added with weights alpha and 1 − alpha. A document that a
    list lacks has 0 there. Equal sums are ordered by id."""

    def __init__(self, alpha: float = ALPHA) -> None:
        self._alpha = alpha

    @component.output_types(documents=list[Document])
    def run(self, dense: list[Document], keyword: list[Document], top_k: int) -> dict[str, list[Document]]:
        scores: dict[str, float] = defaultdict(float)
        for documents, weight in ((dense, self._alpha), (keyword, 1 - self._alpha)):
            for document, scaled in zip(documents, _scaled(documents), strict=True):
                scores[document.id] += weight * scaled
        found = {document.id: document for document in [*dense, *keyword]}
        best = sorted(scores, key=lambda name: (-scores[name], name))[:top_k]
        return {"documents": [replace(found[name], score=scores[name]) for name in best]}


def build_pipeline(index: Index, embedder: E5Embedder) -> Pipeline:
    """Inputs: `embedder.query`, `keyword.query` and a `top_k` for each of dense, keyword and fusion. Output:
    `fusion.documents`, whose meta is {title, url}."""
    documents = [
        Document(id=one.id, content=one.text, meta={"title": one.title, "url": one.url}) for one in index.chunks
    ]
    pipeline = Pipeline()
    pipeline.add_component("embedder", QueryEmbedder(embedder))
    pipeline.add_component("dense", DenseRetriever(documents, index.embeddings))
    pipeline.add_component("keyword", KeywordRetriever(documents, [chunk.indexed_text for chunk in index.chunks]))
    pipeline.add_component("fusion", RelativeScoreFusion())
    pipeline.connect("embedder.embedding", "dense.embedding")
    pipeline.connect("dense.documents", "fusion.dense")
    pipeline.connect("keyword.documents", "fusion.keyword")
    return pipeline


def _best(documents: list[Document], scores: Floats, top_k: int) -> list[Document]:
    # A stable sort: equal scores stay in the order of the corpus.
    rows = np.argsort(-scores, kind="stable")[:top_k]
    return [replace(documents[row], score=float(scores[row])) for row in rows]


def _scaled(documents: list[Document]) -> list[float]:
    scores = [document.score or 0.0 for document in documents]
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def _postings(
    texts: list[list[str]], k1: float = 1.2, b: float = 0.75
) -> dict[str, tuple[npt.NDArray[np.intp], Floats]]:
    """For each token the rows it occurs in and what it adds to their scores."""
    average = sum(map(len, texts)) / len(texts)
    occurrences: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row, tokens in enumerate(texts):
        norm = k1 * (1 - b + b * len(tokens) / average)
        for token, count in Counter(tokens).items():
            occurrences[token].append((row, count * (k1 + 1) / (count + norm)))
    postings = {}
    for token, found in occurrences.items():
        idf = math.log(1 + (len(texts) - len(found) + 0.5) / (len(found) + 0.5))
        rows, weights = zip(*found, strict=True)
        postings[token] = np.array(rows, dtype=np.intp), np.array(weights, dtype=np.float32) * np.float32(idf)
    return postings
