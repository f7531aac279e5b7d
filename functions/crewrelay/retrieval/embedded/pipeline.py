"""The Haystack pipeline of the embedded store: keyword and dense search, and the fusion of their scores.

Haystack's in-memory retrievers loop over all documents in Python for each query. These two use a matrix and posting
lists, and return the same ranking in a few hundred microseconds.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from haystack import Document, Pipeline, component

from crewrelay.jobs.answer import Passage
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import ALPHA
from crewrelay.retrieval.passages import CHUNKS_A_PASSAGE, distinct

# Number of results of each search to fuse, the same as in Weaviate's hybrid search for a few results.
CANDIDATES = 20

Floats = npt.NDArray[np.float32]

_TOKEN = re.compile(r"\w+")


@component
class DenseRetriever:
    """Finds the documents nearest to a vector, scored by cosine similarity."""

    def __init__(self, documents: list[Document], embeddings: Floats) -> None:
        self._documents = documents
        self._embeddings = embeddings

    @component.output_types(documents=list[Document])
    def run(self, embedding: Floats, top_k: int) -> dict[str, list[Document]]:
        # Not `@`: OpenBLAS would wake its threads for half a millisecond of work.
        cosines = np.einsum("ij,j->i", self._embeddings, embedding)
        return {"documents": _best(self._documents, cosines, top_k)}


@component
class KeywordRetriever:
    """Finds the documents with the highest BM25 scores (k1 1.2, b 0.75) that share a word with the query."""

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
    """Scales the scores of each list to 0…1 and adds them with weights alpha and 1 − alpha. A document missing from a
    list scores 0 there. Equal sums are ordered by id."""

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


class PassageSearch:
    """The pipeline over chunks and their vectors; row i belongs to chunks[i]. Thread-safe."""

    def __init__(self, chunks: Sequence[Chunk], vectors: Floats) -> None:
        self._chunks, self._vectors = chunks, vectors
        documents = [Document(id=one.id, content=one.text, meta={"row": row}) for row, one in enumerate(chunks)]
        self._pipeline = Pipeline()
        self._pipeline.add_component("dense", DenseRetriever(documents, vectors))
        self._pipeline.add_component("keyword", KeywordRetriever(documents, [chunk.indexed_text for chunk in chunks]))
        self._pipeline.add_component("fusion", RelativeScoreFusion())
        self._pipeline.connect("dense.documents", "fusion.dense")
        self._pipeline.connect("keyword.documents", "fusion.keyword")

    def search(self, query: str, vector: Floats, top_k: int) -> list[Passage]:
        candidates = max(CANDIDATES, CHUNKS_A_PASSAGE * top_k)
        outputs = self._pipeline.run(
            {
                # An array, because the pipeline would copy a list number by number, 4 ms per query.
                "dense": {"embedding": vector, "top_k": candidates},
                "keyword": {"query": query, "top_k": candidates},
                "fusion": {"top_k": candidates},
            }
        )
        return distinct((self._passage(one, vector) for one in outputs["fusion"]["documents"]), top_k)

    def _passage(self, document: Document, vector: Floats) -> Passage:
        row: int = document.meta["row"]
        chunk = self._chunks[row]
        return Passage(
            id=chunk.id,
            title=chunk.title,
            url=chunk.url,
            text=chunk.passage,
            excerpt=chunk.text,
            score=document.score or 0.0,
            similarity=float(np.einsum("i,i", self._vectors[row], vector)),
        )


def _best(documents: list[Document], scores: Floats, top_k: int) -> list[Document]:
    # Stable sort: equal scores keep the order of the corpus.
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
    """For each token the rows it occurs in, and the BM25 weight that it adds to each."""
    average = sum(map(len, texts)) / max(len(texts), 1)
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
