"""Ingesting many pages takes no more memory than a few: `pytest -s` prints documents per second and peak memory.

`FAULTS=long` ingests more of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT
from tests.stack import environment

LONG_FORM = os.environ.get("FAULTS") == "long"
FEW, MANY = (200, 2_000) if LONG_FORM else (100, 700)
ALLOWANCE = (16 if LONG_FORM else 8) << 20  # bytes

# In a process of its own, for its peak is that of its whole life.
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from crewrelay.retrieval.collection import Embedding
from crewrelay.retrieval.embedded import EmbeddedCollections
from crewrelay.retrieval.files import files_under
from crewrelay.retrieval.ingestion import Ingestion
from tests.doubles.embedder import WordEmbedder

class Forgetful(WordEmbedder):
    def passages(self, texts):
        self.embedded.clear()
        return super().passages(texts)

embedder = Forgetful()
store = EmbeddedCollections(Path(sys.argv[2])).create("c", Embedding(embedder.name, embedder.dimension))
ingestion = Ingestion(store, embedder)
print(*(json.dumps({
    "documents": sum(1 for _ in ingestion.ingest(files_under([Path(sys.argv[1])]))),
    "seconds": time.monotonic() - started,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}) for started in [time.monotonic()]))
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
    rate, peak = figures["documents"] / figures["seconds"], figures["peak"] / (1 << 20)
    print(f"\n{figures['documents']} pages: {rate:.0f} documents/s, peak memory {peak:.0f} MB")
    return figures


def test_memory_does_not_grow_with_the_number_of_documents(tmp_path: Path) -> None:
    write_pages(tmp_path / "few", FEW)
    write_pages(tmp_path / "many", MANY)
    few = ingested(tmp_path / "few", tmp_path / "a")
    many = ingested(tmp_path / "many", tmp_path / "b")
    assert (few["documents"], many["documents"]) == (FEW, MANY)
    assert many["peak"] <= few["peak"] + ALLOWANCE
