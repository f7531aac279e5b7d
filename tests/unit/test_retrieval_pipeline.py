"""How the two searches rank and how their scores are fused."""

import numpy as np
from haystack import Document

from crewrelay.retrieval.embedded.pipeline import DenseRetriever, KeywordRetriever, RelativeScoreFusion

NAMES = ["a", "b", "c", "d"]
DOCUMENTS = [Document(id=name, content=name) for name in NAMES]


def scored(**scores: float) -> list[Document]:
    return [Document(id=name, content=name, score=score) for name, score in scores.items()]


def ranked(documents: list[Document]) -> list[tuple[str, float]]:
    return [(document.id, round(document.score or 0.0, 6)) for document in documents]


def test_fusion_adds_scaled_scores() -> None:
    fused = RelativeScoreFusion(alpha=0.75).run(scored(a=0.9, b=0.85, c=0.8), scored(c=12.0, d=8.0, b=4.0), top_k=3)
    assert ranked(fused["documents"]) == [("a", 0.75), ("b", 0.375), ("c", 0.25)]


def test_equal_sums_are_ordered_by_id() -> None:
    fused = RelativeScoreFusion().run(scored(b=0.5, a=0.5), [], top_k=5)
    assert ranked(fused["documents"]) == [("a", 0.85), ("b", 0.85)]


def test_fusion_of_nothing_is_nothing() -> None:
    assert RelativeScoreFusion().run([], [], top_k=5)["documents"] == []


def test_dense_search_ranks_by_cosine() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1]], dtype=np.float32)
    found = DenseRetriever(DOCUMENTS, vectors).run(np.array([0, 1], dtype=np.float32), top_k=3)
    assert ranked(found["documents"]) == [("b", 1.0), ("d", 1.0), ("c", 0.8)]


def test_keyword_search_prefers_rare_words_and_leaves_out_the_rest() -> None:
    texts = ["the cat", "the dog", "the the the", "a bird"]
    found = KeywordRetriever(DOCUMENTS, texts).run("The CAT, the cat?", top_k=4)["documents"]
    assert found[0].id == "a"
    assert {document.id for document in found} == {"a", "b", "c"}
    assert KeywordRetriever(DOCUMENTS, texts).run("Straße", top_k=4)["documents"] == []
