"""The prebuilt index in a corpus folder: vectors of chunks and of their sentences, and a manifest of what it is of."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crewrelay.retrieval.chunks import Chunk, corpus_chunks
from crewrelay.retrieval.embedded.sentences import Bytes, rounded, sentences
from crewrelay.retrieval.embedders.e5 import DIMENSION, EMBEDDER, E5Embedder

SHIPPED_CORPUS = Path(__file__).parent / "corpus"

_EMBEDDINGS = "embeddings.npy"
_SENTENCES = "sentences.npy"
_MANIFEST = "index.json"


class StaleIndexError(RuntimeError):
    """A corpus has no index, or one built from other chunks or by another embedder."""


@dataclass(frozen=True)
class Index:
    """`embeddings` has shape (len(chunks), 384), float32; row i belongs to chunks[i] and has length 1. `sentences` are
    those of the chunks' sentences, in bytes.
    """

    chunks: list[Chunk]
    embeddings: npt.NDArray[np.float32]
    sentences: Bytes


def build_index(corpus: Path) -> int:
    """Embed the chunks of a corpus and their sentences (0.2 s of CPU a chunk). Returns the number of chunks."""
    chunks, embedder = corpus_chunks(corpus), E5Embedder()
    embeddings = embedder.passages([chunk.indexed_text for chunk in chunks])
    np.save(corpus / _EMBEDDINGS, embeddings.astype(np.float16), allow_pickle=False)
    np.save(corpus / _SENTENCES, rounded(embedder.passages(sentences(chunks))), allow_pickle=False)
    (corpus / _MANIFEST).write_text(json.dumps(_manifest(chunks), indent=2) + "\n", "utf-8")
    return len(chunks)


def load_index(corpus: Path) -> Index:
    """Raises StaleIndexError if the index does not match the corpus, CorpusError if the corpus can't be read."""
    chunks = corpus_chunks(corpus)
    try:
        manifest = json.loads((corpus / _MANIFEST).read_text("utf-8"))
        stored = np.load(corpus / _EMBEDDINGS, allow_pickle=False)
        of_sentences = np.load(corpus / _SENTENCES, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StaleIndexError(f"{corpus} has no readable index: {_REBUILD.format(corpus)}") from error
    expected = _manifest(chunks)
    shapes = [(expected[what], DIMENSION) for what in ("passages", "sentences")]
    if manifest != expected or [stored.shape, of_sentences.shape] != shapes:
        raise StaleIndexError(f"the index of {corpus} is {manifest}, not {expected}: {_REBUILD.format(corpus)}")
    embeddings = stored.astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Index(chunks, embeddings, of_sentences)


_REBUILD = "run `python -m crewrelay.retrieval.embedded.build {}`"


def _manifest(chunks: list[Chunk]) -> dict[str, str | int]:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(f"{chunk.id}\0{chunk.indexed_text}\0".encode())
    return {
        "embedder": EMBEDDER,
        "dimension": DIMENSION,
        "passages": len(chunks),
        "sentences": len(sentences(chunks)),
        "sha256": digest.hexdigest(),
    }
