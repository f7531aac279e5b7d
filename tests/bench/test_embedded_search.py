"""What ten thousand chunks in one file cost the process that searches them."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crewrelay.retrieval.collection import Document
from crewrelay.retrieval.embedded.collections import EmbeddedCollections
from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS, load_index
from crewrelay.retrieval.embedded.shipped import SHIPPED_EMBEDDING
from tests.support.fixtures import Figure
from tests.support.weaviate import TIMEOUT

COPIES, TIMES = 6, 100  # of 1,666 chunks
QUESTION = "When should I not use SQLite for the website of a company, and what should I use instead of it?"


def cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collections")
    collection = EmbeddedCollections(folder).create("large", SHIPPED_EMBEDDING)
    index = load_index(SHIPPED_CORPUS)
    for copy in range(COPIES):
        chunks = [
            replace(chunk, id=f"{copy}-{chunk.id}", text=f"{chunk.text} copy{copy}row{row}")
            for row, chunk in enumerate(index.chunks)
        ]
        collection.put(Document(f"copy-{copy}", "1"), chunks, list(index.embeddings))
    return folder


def test_ten_thousand_chunks_are_loaded_in_time_and_searched_in_no_time(folder: Path, figure: Figure) -> None:
    vector = load_index(SHIPPED_CORPUS).embeddings[0]
    opened = [EmbeddedCollections(folder).open("large", SHIPPED_EMBEDDING) for _ in range(3)]
    load = min(cpu(lambda one=one: one.search(QUESTION, vector, 5, TIMEOUT)) for one in opened)  # type: ignore[misc]
    search = cpu(lambda: [opened[0].search(QUESTION, vector, 5, TIMEOUT) for _ in range(TIMES)]) / TIMES
    figure(f"{opened[0].count()} chunks: loaded in {load:.2f} s of CPU, searched in {1000 * search:.1f} ms")
    assert load < 1.5
    assert search < 0.025
