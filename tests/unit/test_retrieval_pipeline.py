"""How the two scores rank chunks, and how they are added."""

import numpy as np
from haystack import Document

from crewrelay.retrieval.embedded.pipeline import DenseScores, KeywordScores, WeightedSum

DOCUMENTS = [Document(id=name, content=name) for name in "abcd"]


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def ranked(documents: list[Document]) -> list[tuple[str, float]]:
    return [(document.id, round(document.score or 0.0, 6)) for document in documents]


def test_every_document_has_both_scores() -> None:
    """A sum over the best of each list would lose b."""
    found = WeightedSum(DOCUMENTS, alpha=0.75).run(floats(0.8, 0.7, 0, 0), floats(0, 0.5, 0.6, 0), top_k=3)
    assert ranked(found["documents"]) == [("b", 0.65), ("a", 0.6), ("c", 0.15)]


def test_equal_sums_keep_the_order_of_the_corpus() -> None:
    found = WeightedSum(DOCUMENTS, alpha=0.5).run(floats(0, 1, 0, 1), floats(0, 0, 0, 0), top_k=4)
    assert [document.id for document in found["documents"]] == ["b", "d", "a", "c"]


def test_no_documents_have_no_best() -> None:
    assert WeightedSum([]).run(floats(), floats(), top_k=5)["documents"] == []


def test_the_dense_score_is_the_cosine() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    scores = DenseScores(vectors).run(floats(0, 1))["scores"]
    assert [round(float(score), 6) for score in scores] == [0, 1, 0.8]


def test_rare_words_weigh_more() -> None:
    scores = KeywordScores(["common cats", "common dogs", "seldom cats", "common hats"]).run("seldom common")["scores"]
    assert scores[2] > scores[0] > 0
