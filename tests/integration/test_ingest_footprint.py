"""Ingesting many pages takes no more memory than a few: `pytest -s` prints documents per second and peak memory.

`FAULTS=long` ingests more of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from crewrelay.retrieval.reading.limits import MB
from tests.support.processes import ROOT
from tests.support.stack import environment

LONG_FORM = os.environ.get("FAULTS") == "long"
FEW, MANY = (200, 2_000) if LONG_FORM else (100, 400)
ALLOWANCE = (16 if LONG_FORM else 4) * MB

# In a process of its own, for its peak is that of its whole life. Its reader's too.
PROGRAM = """
import json, sys, time
from pathlib import Path
from crewrelay.retrieval.collection import Embedding
from crewrelay.retrieval.embedded.collections import EmbeddedCollections
from crewrelay.retrieval.reading.files import files_under
from crewrelay.retrieval.ingestion import Ingestion
from crewrelay.retrieval.reading.reader import Reader
from tests.support.doubles.embedder import WordEmbedder
from tests.support.processes import peak_memory

class Forgetful(WordEmbedder):
    def passages(self, texts):
        self.embedded.clear()
        return super().passages(texts)

embedder = Forgetful()
store = EmbeddedCollections(Path(sys.argv[2])).create("c", Embedding(embedder.name, embedder.dimension))
with Reader() as reader:
    started = time.monotonic()
    documents = sum(1 for _ in Ingestion(store, embedder, reader).ingest(files_under([Path(sys.argv[1])])))
    seconds = time.monotonic() - started
    print(json.dumps({
        "documents": documents,
        "seconds": seconds,
        "peak": peak_memory(),
        "reader": peak_memory(reader.pid),
    }))
"""


def page(number: int, kind: str) -> str:
    facts = [f"Pump {number} moves {number + line} litres of water an hour through pipe {line}." for line in range(30)]
    if kind == "html":
        return f"<html><body><main><h1>Pump {number}</h1><p>{'</p><p>'.join(facts)}</p></main></body></html>"
    return f"# Pump {number}\n\n" + "\n\n".join(facts)


def write_pages(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        kind = ("txt", "md", "html")[number % 3]
        (folder / f"pump-{number}.{kind}").write_text(page(number, kind))


def ingested(folder: Path, store: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(store)],
        cwd=ROOT,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    rate, *peaks = figures["documents"] / figures["seconds"], figures["peak"] / MB, figures["reader"] / MB
    print(f"\n{figures['documents']} pages: {rate:.0f} documents/s, peak memory {peaks[0]:.0f} MB", end="")
    print(f" and {peaks[1]:.0f} MB in the process that reads")
    return figures


def test_memory_does_not_grow_with_the_number_of_documents(tmp_path: Path) -> None:
    write_pages(tmp_path / "few", FEW)
    write_pages(tmp_path / "many", MANY)
    few = ingested(tmp_path / "few", tmp_path / "a")
    many = ingested(tmp_path / "many", tmp_path / "b")
    assert (few["documents"], many["documents"]) == (FEW, MANY)
    assert many["peak"] <= few["peak"] + ALLOWANCE
    assert many["reader"] <= few["reader"] + ALLOWANCE
