"""`make eval`: the shipped corpus through the real command, the questions of one half over HTTP, and a table.

    python -m tests.eval.evaluation [report|tune]

Recall is that of the search with each question as it stands: whether the sentence that answers it is in the first
passage, or in the first five. The rest is read off the answers. An answer without sources is a refusal.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from crewrelay.jobs.ports import Retriever
from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS
from crewrelay.settings import EmbedderSettings, RetrievalSettings
from crewrelay.wiring import retrieval as wired
from tests.support.processes import ROOT
from tests.support.stack import COMMAND, environment, running_stack

QUESTIONS = Path(__file__).parent / "questions.jsonl"
LANGUAGES = ("en", "es", "de")
AT_ONCE = 4


class Asked(NamedTuple):
    """A question in one language, what the search found for it, and the answer."""

    item: dict[str, Any]
    language: str
    found: list[str]  # texts of passages, best first
    answer: dict[str, Any]

    @property
    def answerable(self) -> bool:
        return bool(self.item["kind"] == "answerable")

    @property
    def refused(self) -> bool:
        return not self.answer["sources"]

    def recalled(self, top_k: int) -> bool:
        return any(self.item["sentence"] in text for text in self.found[:top_k])

    @property
    def has_the_span(self) -> bool:
        return self.item["span"].lower() in collapsed(self.answer["answer"]).lower()

    @property
    def citations(self) -> tuple[int, int, int]:
        """How many there are, how many of a source that is given, how many behind a quotation of that source."""
        sources = {source["number"]: collapsed(source["text"]) for source in self.answer["sources"]}
        cited = valid = supporting = 0
        for line in self.answer["answer"].splitlines():
            *quotations, _ = split_at_citations(line)
            for quotation, number in quotations:
                cited += 1
                valid += number in sources
                supporting += collapsed(quotation) in sources.get(number, "")
        return cited, valid, supporting


def collapsed(text: str) -> str:
    return " ".join(text.split())


def split_at_citations(line: str) -> list[tuple[str, int]]:
    """(what stands before a citation, its number), and what is left behind the last one."""
    parts: list[tuple[str, int]] = []
    rest = line
    while "[" in rest:
        before, _, after = rest.partition("[")
        number, closed, rest = after.partition("]")
        if closed and number.isdigit():
            parts.append((before, int(number)))
    return [*parts, (rest, 0)]


def main() -> None:
    half = sys.argv[1] if len(sys.argv) > 1 else "report"
    items = [json.loads(line) for line in QUESTIONS.read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory(prefix="crewrelay-eval-") as folder:
        settings = {"CREWRELAY_COLLECTIONS": folder, "CREWRELAY_COLLECTION": "eval"}
        subprocess.run([*COMMAND, "ingest", str(SHIPPED_CORPUS)], env=environment(**settings), cwd=ROOT, check=True)
        os.environ.update(settings)
        retrieval, vectors = RetrievalSettings.read(), wired.embedder(EmbedderSettings.read())
        retriever = wired.retriever(wired.collections(retrieval), retrieval, vectors)
        with running_stack(**settings) as stack, ThreadPoolExecutor(AT_ONCE) as pool:
            wanted = [(item, language) for item in items if item["half"] == half for language in LANGUAGES]
            asked = list(pool.map(lambda one: ask(stack.client, retriever, *one), wanted))
    print(table(half, asked))


def ask(client: httpx.Client, retriever: Retriever, item: dict[str, Any], language: str) -> Asked:
    question = item["questions"][language]
    found = [collapsed(passage.text) for passage in retriever.retrieve(question, 5)]
    answer = client.post("/crewai/run", json={"topic": question, "language": language}).raise_for_status()
    assert answer.status_code == 200, answer.text
    return Asked(item, language, found, answer.json())


def table(half: str, asked: list[Asked]) -> str:
    rows = [f"{'half: ' + half:30}" + "".join(f"{language:>8}" for language in LANGUAGES)]
    measures: list[tuple[str, Callable[[list[Asked]], float]]] = [
        ("recall@1", lambda some: share([one.recalled(1) for one in some if one.answerable])),
        ("recall@5", lambda some: share([one.recalled(5) for one in some if one.answerable])),
        ("answer contains the span", lambda some: share([one.has_the_span for one in some if one.answerable])),
        ("citations valid", lambda some: ratio([one.citations for one in some], 1)),
        ("citations supporting", lambda some: ratio([one.citations for one in some], 2)),
        ("correct refusals", lambda some: share([one.refused for one in some if not one.answerable])),
        ("false refusals", lambda some: share([one.refused for one in some if one.answerable])),
    ]
    for name, measure in measures:
        of_each = [measure([one for one in asked if one.language == language]) for language in LANGUAGES]
        rows.append(f"{name:30}" + "".join(f"{value:8.3f}" for value in of_each))
    return "\n".join([*rows, f"{len(asked)} questions"])


def share(outcomes: list[bool]) -> float:
    return sum(outcomes) / len(outcomes)


def ratio(citations: list[tuple[int, int, int]], which: int) -> float:
    return sum(one[which] for one in citations) / max(1, sum(one[0] for one in citations))


if __name__ == "__main__":
    main()
