"""The shipped corpus, how it is cut, and the index that was made from it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crewrelay.retrieval.chunks import LONGEST, CorpusError, corpus_chunks, page_chunks
from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS, StaleIndexError, build_index, load_index
from crewrelay.retrieval.embedded.sentences import sentences
from crewrelay.retrieval.embedders.e5 import DIMENSION, EMBEDDER, E5Embedder

HEADER = "Title: A page\nSource: https://example.org/a\n\n"


def words(count: int) -> str:
    """One sentence."""
    return "Word" + " word" * (count - 1) + "."


def test_every_shipped_chunk_is_a_piece_of_its_file() -> None:
    chunks = corpus_chunks(SHIPPED_CORPUS)
    assert 1500 <= len(chunks) <= 1800
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    for chunk in chunks:
        page = (SHIPPED_CORPUS / (chunk.id.split("#")[0] + ".txt")).read_text("utf-8")
        assert chunk.text in page
        assert f"Title: {chunk.title}\nSource: {chunk.url}\n" in page
        assert chunk.text == chunk.text.strip()
        assert "\n#" not in f"\n{chunk.text}"
        assert 0 < len(chunk.text.split()) < LONGEST
        assert chunk.text in chunk.passage
        assert all(block.removeprefix("## ") in page for block in chunk.passage.split("\n\n"))


def test_every_shipped_page_says_where_it_is_from() -> None:
    for chunk in corpus_chunks(SHIPPED_CORPUS):
        page = chunk.id.split("#")[0]
        name = page.removeprefix("sqlite/")
        assert chunk.url == (f"corpus/{page}.txt" if name == page else f"https://www.sqlite.org/{name}.html")


def test_chunks_keep_sentences_and_sections_whole() -> None:
    text = HEADER + f"## One\n\n{words(40)} {words(30)}\n\n## Two\n\n{words(5)} See e.g. Figure 2. {words(4)}\n"
    chunks = page_chunks("a", text)
    assert [(chunk.id, chunk.heading, len(chunk.text.split())) for chunk in chunks] == [
        ("a#1", "One", 40),
        ("a#2", "One", 30),
        ("a#3", "Two", 13),
    ]


def test_a_short_remainder_joins_the_chunk_before_it() -> None:
    text = HEADER + f"{words(40)}\n\n{words(10)}\n"
    assert [len(chunk.text.split()) for chunk in page_chunks("a", text)] == [50]


def test_a_colon_stays_with_what_it_announces() -> None:
    text = HEADER + f"{words(35)} These are:\n\n{words(20)}\n\n{words(40)}\n"
    assert [len(chunk.text.split()) for chunk in page_chunks("a", text)] == [57, 40]


def test_a_sentence_is_not_cut_after_an_abbreviation() -> None:
    text = HEADER + f"{words(50)} A case, e.g. {words(20)}\n"
    assert [len(chunk.text.split()) for chunk in page_chunks("a", text)] == [50, 23]


def test_a_page_without_a_header_is_refused_by_name() -> None:
    with pytest.raises(CorpusError, match=r"notes: must begin with a line 'Title: …'"):
        page_chunks("notes", "Some text.\n")


def test_a_folder_without_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no \.txt files"):
        corpus_chunks(tmp_path)


def test_the_shipped_index_fits_the_corpus_and_the_embedder() -> None:
    index = load_index(SHIPPED_CORPUS)
    assert (SHIPPED_CORPUS / "embeddings.npy").stat().st_size <= 1_400_000
    sample = [0, len(index.chunks) // 2, len(index.chunks) - 1]
    fresh = E5Embedder().passages([index.chunks[row].indexed_text for row in sample])
    assert np.abs(index.embeddings[sample] - fresh).max() < 1e-2
    assert (SHIPPED_CORPUS / "sentences.npy").stat().st_size <= 1_700_000
    texts = sentences(index.chunks)
    sample = [0, len(texts) // 2, len(texts) - 1]
    held = index.sentences[sample].astype(np.float32)
    fresh = E5Embedder().passages([texts[row] for row in sample])
    assert np.einsum("ij,ij->i", held, fresh) / np.linalg.norm(held, axis=1) == pytest.approx(1, abs=1e-3)


@pytest.fixture
def small_corpus(tmp_path: Path) -> Path:
    (tmp_path / "page.txt").write_text(HEADER + "One sentence about cats.\n\n## Two\n\nAnother about rain.\n", "utf-8")
    return tmp_path


def test_building_twice_gives_the_same_bytes(small_corpus: Path) -> None:
    def built() -> dict[str, bytes]:
        assert build_index(small_corpus) == 2
        return {path.name: path.read_bytes() for path in small_corpus.iterdir()}

    assert built() == built()
    assert len(load_index(small_corpus).chunks) == 2


def test_a_corpus_without_a_sentence_to_quote_has_an_index(tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text(HEADER + "Cats?\n", "utf-8")
    assert build_index(tmp_path) == 1
    assert load_index(tmp_path).sentences.shape == (0, DIMENSION)


def test_a_changed_page_makes_the_index_stale(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(SHIPPED_CORPUS, corpus)
    load_index(corpus)
    page = corpus / "neural-networks.txt"
    page.write_text(page.read_text("utf-8").replace("called neurons", "named neurons"), "utf-8")
    with pytest.raises(StaleIndexError, match=r"retrieval\.embedded\.build"):
        load_index(corpus)


@pytest.mark.parametrize("damage", [{"embedder": "another"}, {"dimension": 768}, {"passages": 1}, {"sentences": 1}])
def test_an_index_of_another_embedder_is_stale(tmp_path: Path, damage: dict[str, object]) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(SHIPPED_CORPUS, corpus)
    manifest = json.loads((corpus / "index.json").read_text("utf-8"))
    assert manifest["embedder"] == EMBEDDER
    (corpus / "index.json").write_text(json.dumps(manifest | damage), "utf-8")
    with pytest.raises(StaleIndexError):
        load_index(corpus)


@pytest.mark.parametrize("name", ["embeddings.npy", "sentences.npy"])
def test_a_truncated_index_is_stale(tmp_path: Path, name: str) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(SHIPPED_CORPUS, corpus)
    embeddings = corpus / name
    embeddings.write_bytes(embeddings.read_bytes()[:1000])
    with pytest.raises(StaleIndexError):
        load_index(corpus)
