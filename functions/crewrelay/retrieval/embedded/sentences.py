"""The sentences of a corpus, with a vector each: tells which of a passage are nearest to a question.

The vector of a chunk doesn't tell which of its sentences answers. And a question can't wait for new ones.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crewrelay.jobs.records.answer import Excerpt, Passage
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Vector
from crewrelay.retrieval.passages import document_of
from crewrelay.retrieval.quotable import sentences_of

MOST = 12  # sentences that a search tells of

Bytes = npt.NDArray[np.int8]


def sentences(chunks: Sequence[Chunk]) -> list[str]:
    """Those of each chunk that can be quoted, verbatim."""
    return [chunk.text[start:end] for chunk in chunks for _, start, end in sentences_of(chunk.text)]


def rounded(vectors: npt.NDArray[np.float32]) -> Bytes:
    """Vectors in bytes; their length is lost. A cosine changes by less than 0.001."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-9)
    found: Bytes = np.round(vectors / largest * 127).astype(np.int8)
    return found


class SentenceSearch:
    """Row i of `vectors` is of the i-th of the chunks' `sentences`."""

    def __init__(self, chunks: Sequence[Chunk], vectors: Bytes) -> None:
        self._vectors = vectors
        self._of: dict[str, list[tuple[int, str]]] = defaultdict(list)
        row = 0
        for chunk in chunks:
            for text in sentences([chunk]):
                self._of[document_of(chunk.id)].append((row, text))
                row += 1

    def told(self, passages: Sequence[Passage], vector: Vector) -> list[Passage]:
        """The passages with the sentences of them all that are nearest to the vector, each in the first that has it."""
        held: dict[int, tuple[int, str]] = {}
        for number, passage in enumerate(passages):
            for row, text in self._of[document_of(passage.id)]:
                if row not in held and text in passage.text:
                    held[row] = number, text
        rows = np.fromiter(held, dtype=np.intp, count=len(held))
        found = self._vectors[rows].astype(np.float32)
        cosines = np.einsum("ij,j->i", found, vector) / np.linalg.norm(found, axis=1)
        nearest: list[list[Excerpt]] = [[] for _ in passages]
        for one in np.argsort(-cosines, kind="stable")[:MOST]:
            number, text = held[int(rows[one])]
            nearest[number].append(Excerpt(text=text, similarity=float(cosines[one])))
        return [
            passage.model_copy(update={"sentences": tuple(each)})
            for passage, each in zip(passages, nearest, strict=True)
        ]
