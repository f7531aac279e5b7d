"""`make eval`: questions over HTTP, about the shipped corpus or documents through the real command, and a table.

    python -m tests.eval.evaluation [report|tune|reading]

The halves `report` and `tune` ask about the shipped corpus in three languages; `reading` asks about paragraphs in their
own language. Recall is that of the search with each question as it stands: whether what answers it is in the first
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
from crewrelay.retrieval.embedded.shipped import SHIPPED
from crewrelay.settings import EmbedderSettings, RetrievalSettings
from crewrelay.wiring import retrieval as wired
from tests.support.processes import ROOT
from tests.support.stack import COMMAND, environment, running_stack

QUESTIONS = Path(__file__).parent / "questions.jsonl"
READING = Path(__file__).parent / "reading.jsonl"
LANGUAGES = ("en", "es", "de")
AT_ONCE = 4


class Item(NamedTuple):
    """A question. If the documents answer it: the sentence or paragraph that does, and the span that is the answer."""

    language: str
    question: str
    answered_by: str | None = None
    span: str = ""


class Asked(NamedTuple):
    """A question, what the search found for it, and the answer."""

    item: Item
    found: list[str]  # texts of passages, best first
    answer: dict[str, Any]

    @property
    def refused(self) -> bool:
        return not self.answer["sources"]

    def recalled(self, top_k: int) -> bool:
        return any((self.item.answered_by or "") in text for text in self.found[:top_k])

    @property
    def words(self) -> int:
        """Of the quotations."""
        return sum(len(quotation.split()) for quotation, _ in self.quotations)

    @property
    def has_the_span(self) -> bool:
        return any(self._holds_the_span(quotation) for quotation, _ in self.quotations)

    @property
    def begins_with_the_span(self) -> bool:
        return any(self._holds_the_span(quotation) for quotation, _ in self.quotations[:1])

    @property
    def quotations(self) -> list[tuple[str, int]]:
        """Each with the number of its source."""
        return [one for line in self.answer["answer"].splitlines() for one in split_at_citations(line)[:-1]]

    def _holds_the_span(self, text: str) -> bool:
        return self.item.span.lower() in collapsed(text).lower()

    @property
    def citations(self) -> tuple[int, int, int]:
        """How many there are, how many of a source that is given, how many behind a quotation of that source."""
        sources = {source["number"]: collapsed(source["text"]) for source in self.answer["sources"]}
        valid = [collapsed(quotation) in sources[number] for quotation, number in self.quotations if number in sources]
        return len(self.quotations), len(valid), sum(valid)


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
    which = sys.argv[1] if len(sys.argv) > 1 else "report"
    if which == "reading":
        asked = [one for language in LANGUAGES for one in about_paragraphs(language)]
    else:
        with tempfile.TemporaryDirectory(prefix="crewrelay-eval-") as folder:
            asked = about(SHIPPED, Path(folder), of_half(which))
    print(table(which, asked))


def of_half(half: str) -> list[Item]:
    items = [json.loads(line) for line in QUESTIONS.read_text("utf-8").splitlines()]
    return [
        Item(language, item["questions"][language], item.get("sentence"), item.get("span", ""))
        for item in items
        if item["half"] == half
        for language in LANGUAGES
    ]


def about_paragraphs(language: str) -> list[Asked]:
    paragraphs = [json.loads(line) for line in READING.read_text("utf-8").splitlines()]
    items = [
        Item(
            language, asked["questions"][language], one["texts"].get(language), asked.get("span", {}).get(language, "")
        )
        for one in paragraphs
        for asked in one["asked"]
    ]
    with tempfile.TemporaryDirectory(prefix="crewrelay-eval-") as folder:
        for one in paragraphs:
            if one["texts"]:
                (Path(folder) / f"{one['id']}.txt").write_text(one["texts"][language] + "\n", "utf-8")
        collections = Path(folder) / "collections"
        settings = settings_for("eval", collections)
        subprocess.run([*COMMAND, "ingest", folder], env=environment(**settings), cwd=ROOT, check=True)
        return about("eval", collections, items)


def about(collection: str, collections: Path, items: list[Item]) -> list[Asked]:
    settings = settings_for(collection, collections)
    os.environ.update(settings)
    retrieval, vectors = RetrievalSettings.read(), wired.embedder(EmbedderSettings.read())
    retriever = wired.retriever(wired.collections(retrieval), retrieval, vectors)
    with running_stack(**settings) as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda item: ask(stack.client, retriever, item), items))


def settings_for(collection: str, collections: Path) -> dict[str, str]:
    return {"CREWRELAY_COLLECTIONS": str(collections), "CREWRELAY_COLLECTION": collection}


def ask(client: httpx.Client, retriever: Retriever, item: Item) -> Asked:
    found = [collapsed(passage.text) for passage in retriever.retrieve(item.question, 5)]
    answer = client.post("/crewai/run", json={"topic": item.question, "language": item.language}).raise_for_status()
    assert answer.status_code == 200, answer.text
    return Asked(item, found, answer.json())


def table(which: str, asked: list[Asked]) -> str:
    rows = [f"{which:30}" + "".join(f"{language:>8}" for language in LANGUAGES)]
    measures: list[tuple[str, Callable[[list[Asked], list[Asked]], float]]] = [
        ("recall@1", lambda some, _: share([one.recalled(1) for one in some])),
        ("recall@5", lambda some, _: share([one.recalled(5) for one in some])),
        ("first quote holds the span", lambda some, _: share([one.begins_with_the_span for one in some])),
        ("answer holds the span", lambda some, _: share([one.has_the_span for one in some])),
        ("mean words of an answer", lambda some, _: mean([one.words for one in some if not one.refused])),
        ("citations valid", lambda some, others: ratio([one.citations for one in (*some, *others)], 1)),
        ("citations supporting", lambda some, others: ratio([one.citations for one in (*some, *others)], 2)),
        ("correct refusals", lambda _, others: share([one.refused for one in others])),
        ("false refusals", lambda some, _: share([one.refused for one in some])),
    ]
    for name, measure in measures:
        rows.append(f"{name:30}")
        for language in LANGUAGES:
            of_it = [one for one in asked if one.item.language == language]
            answerable = [one for one in of_it if one.item.answered_by is not None]
            rows[-1] += f"{measure(answerable, [one for one in of_it if one not in answerable]):8.3f}"
    return "\n".join([*rows, f"{len(asked)} questions"])


def mean(numbers: list[int]) -> float:
    return sum(numbers) / max(1, len(numbers))


def share(outcomes: list[bool]) -> float:
    return sum(outcomes) / len(outcomes)


def ratio(citations: list[tuple[int, int, int]], which: int) -> float:
    return sum(one[which] for one in citations) / max(1, sum(one[0] for one in citations))


if __name__ == "__main__":
    main()
