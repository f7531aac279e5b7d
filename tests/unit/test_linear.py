"""What reads a model's, a document's or a caller's text takes time that grows as the text does.

Whoever writes it can make it as bad as he likes, and a pattern holds the interpreter while it looks. So each is given
texts that repeat what patterns stumble over, again at twice the length, and twice that, and twice that: eight times the
text may take about eight times the CPU, where what looks at every pair of places takes sixty-four.
"""

import ast
import importlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

import crewrelay
from crewrelay.catalogue.inputs import filled_in, language_tag, printable
from crewrelay.catalogue.request import parse
from crewrelay.crews.keyless import phrases
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.keyless.question import Question
from crewrelay.crews.keyless.sentences import choose
from crewrelay.crews.models.failures import explain
from crewrelay.crews.models.reading import summary_of
from crewrelay.crews.passages.citations import Bibliography
from crewrelay.crews.passages.search import Read, fenced, shortened, unfenced
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.http.prefer import preference
from crewrelay.jobs import text as texts
from crewrelay.jobs.access import digest_of
from crewrelay.jobs.log_keys import correlation_id_of
from crewrelay.jobs.records.answer import Passage
from crewrelay.redaction import Redaction
from crewrelay.retrieval.chunks import Page, Section, chunks_of, titled_page
from crewrelay.retrieval.embedded.keywords import KeywordIndex
from crewrelay.retrieval.passages import Found, distinct
from crewrelay.retrieval.quotable import sentences_of
from crewrelay.retrieval.reading.conversion import cleaned
from crewrelay.retrieval.reading.printed import running_text
from crewrelay.retrieval.weaviate.errors import translate_error
from crewrelay.retrieval.words import grams

SHORT = 1000  # characters
SUSPICIOUS = 0.0003  # seconds of CPU for so many: most patterns that are linear take a tenth of it
DOUBLINGS = 3
TOLERATED = 2.5  # times what linear growth would take

# fmt: off
PIECES = [
    " ", "\n", "\t", "a", "A", "9", ".", ",", '"', "'", "(", ")", "[", "]", "{", "}", "<", ">", "`", "\\", "-", "#",
    "[1", "[1]", "[1](", "[1](a ", '[1](a "', "[1](<", "[[", "](", "[a]:", "[1]:", "【1†", "【1", "```", "```\n", "\\[",
    "1,", "_", "A. ",
    "<a ", "<a|", "</a", "&#", "&#1", "- ", "> ", "# ", "\n\n", "\n ", " \n", "\n---", "-\n", ". ", ".)", '."', "。",
    "\x021\x03", "\x021\x03(", '\x021\x03(a "', "\x02\x03 ", "\n\x021\x03:", "Topic: ", "Language: ", "- a [1]\n", "{a",
    "NOT ", "<passage-a ", '<passage-a number="1" title="', "class ", "class not", "https://a", "a:", "https://", "00-",
    "Title: a\nSource: b\n", "Action", "Action:", "Action Input", '{"a":', "<summary>", 'Foo"', '" Foo', "e.g. ", "a-",
]
HEADS = [
    "", "[1", "[1]", "\x021\x03(", "a", "A", ".", "- ", "<a", "```", '<passage-a number="1" title="', "class ", "a b",
]
# fmt: on

# ---- every pattern of the package

ROOT = Path(crewrelay.__file__).parent
# Where a pattern is written where it is used: what is read there is tested below, or is not a stranger's.
INLINE = {
    "crews.keyless.extractive": "_reply, below",
    "crews.models.reading": "tests/unit/test_reading.py",
    "crews.running.parts": "CrewAI's own prompts",
    "crews.journal.humans": "the operator's own objects, in 0x and hexadecimal digits",
    "retrieval.weaviate.schema": "names of our own classes",
    "cli.operate.tokens": "the operator's option",
    "catalogue.project": "the operator's files",
    "catalogue.project_files": "the operator's files",
    "catalogue.project_variables": "the operator's files",
    "crews.projects.faults": "the operator's files",
    "local.authorization": "paths of template.yaml",
}


def _calls_of_re(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"))):
                yield node


def _patterns() -> Iterator[tuple[str, str]]:
    """Module and name; a module and "" for a pattern without a name."""
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(path.read_text("utf-8"))
        at_top = {id(node.value): node.targets[0] for node in tree.body if isinstance(node, ast.Assign)}
        for call in _calls_of_re(tree):
            target = at_top.get(id(call))
            yield module, target.id if isinstance(target, ast.Name) else ""


PATTERNS = sorted(set(_patterns()))


def test_no_pattern_escapes_the_test() -> None:
    assert {module for module, name in PATTERNS if not name} == INLINE.keys()
    assert len(PATTERNS) > 40


# ---- how time is told


def seconds(read: Callable[[str], object], text: str, times: int = 1) -> float:
    def once() -> float:
        started = time.thread_time()
        with suppress(Exception):  # a refusal is an answer, too
            read(text)
        return time.thread_time() - started

    return min(once() for _ in range(times))


def repeated(head: str, piece: str, length: int) -> str:
    return head + piece * (length // len(piece))


def growth(read: Callable[[str], object], head: str, piece: str) -> float:
    """How many times longer eight times the text takes, over what it should."""
    first, *_, last = (seconds(read, repeated(head, piece, SHORT << n), 3) for n in range(DOUBLINGS + 1))
    return last / first / (1 << DOUBLINGS)


def assert_linear(read: Callable[[str], object], heads: list[str] = HEADS, limit: float = SUSPICIOUS) -> None:
    for head, piece in product(heads, PIECES):
        if seconds(read, repeated(head, piece, SHORT)) > limit:
            assert growth(read, head, piece) < TOLERATED, (head, piece)


@pytest.mark.parametrize(("module", "name"), [one for one in PATTERNS if one[1]])
def test_a_pattern_is_linear(module: str, name: str) -> None:
    pattern: re.Pattern[str] = getattr(importlib.import_module(f"crewrelay.{module}"), name)
    source = Path(ROOT, *module.split(".")).with_suffix(".py").read_text("utf-8")
    anchored = set(re.findall(rf"\b{name}\.(\w+)\(", source)) <= {"match", "fullmatch"}
    assert_linear(pattern.match if anchored else lambda text: pattern.sub("", text))


@pytest.mark.parametrize(
    "pattern",
    [r"\[\d+\s*[,;]?\s*\]", r"[ \t]*\[", r"【\d+†[^】\n]*】", "class .*(not found|not there)", r"^\s*Topic: (.+)$"],
)
def test_the_test_can_tell(pattern: str) -> None:
    with pytest.raises(AssertionError):
        assert_linear(lambda text: re.sub(pattern, "", text, flags=re.MULTILINE))


# ---- and what is built of them

BIBLIOGRAPHY = Bibliography()
BIBLIOGRAPHY.number([Passage(id="a", title="a", url="a", text="a", excerpt="a")])
REDACTION = Redaction()
REDACTION.hide("aaaaaaaaaaaaaaab")
TOOLS = [{"type": "function", "function": {"name": "search_passages"}}]


def passage(text: str) -> Passage:
    return Passage(id=text, title=text, url=text, text=text, excerpt=text[-20:])


def chunk(text: str) -> Found:
    return Found(text, text, text, text, text[-20:], 0.0, 0.0)


def page(text: str) -> object:
    return chunks_of("a", titled_page(text) or Page("a", "a", [Section("a", text)]))


def replied(text: str) -> object:
    return ExtractiveLLM(model=ExtractiveLLM.NAME).call([{"role": "user", "content": text}])


def asked_for(text: str) -> object:
    question = Question(text, "en")
    return question.names, question.defined, question.wants_a_number, question.is_in_the_language_of(text)


def replied_to_passages(text: str) -> object:
    found = {"role": "tool", "content": fenced("a", [passage(text)])}
    return ExtractiveLLM(model=ExtractiveLLM.NAME).call([{"role": "user", "content": "Topic: a"}, found], TOOLS)


READERS: dict[str, Callable[[str], object]] = {
    "an answer's citations": BIBLIOGRAPHY.cite,
    "whether an answer declines": lambda text: phrases.refusal(text, "en"),
    "a prompt, by the keyless model": replied,
    "passages, by the keyless model": replied_to_passages,
    "a topic, by the keyless model": lambda text: choose(text, "en", [Read(1, "a", "It is so.", (0, 9), 0.9)]),
    "what a topic asks for": asked_for,
    "a text's 4-grams": grams,
    "a query's keywords": KeywordIndex(["a text"]).scores,
    "a text to be searched": lambda text: KeywordIndex([text]),
    "a passage's sentences": sentences_of,
    "a passage to be shortened": lambda text: shortened(passage(text), 500),
    "a tool's result": unfenced,
    "a tool's result that begins like ours": lambda text: unfenced(fenced("a", [passage("b")]) + text),
    "passages that are alike": lambda text: distinct([chunk(text), chunk(text + "a")], 5),
    "a title": texts.in_one_line,
    "an address": texts.link,
    "a document's name": texts.name,
    "a text": texts.shown,
    "a server's error": lambda text: explain(ValueError(text), REDACTION.text),
    "Weaviate's error": lambda text: translate_error(ValueError(text)),
    "a summary": summary_of,
    "a page": page,
    "a page's text": cleaned,
    "a printed page": running_text,
    "a topic": printable,
    "a language": language_tag,
    "an input": lambda text: filled_in("{a} {b}", {"a": text, "b": text}),
    "a body": parse,
    "a body's topic": lambda text: parse(json.dumps({"topic": text, "language": text})),
    "a body's inputs": lambda text: parse(json.dumps({"crew": "research", "inputs": {text: text, "topic": text}})),
    "Prefer": lambda text: preference([text], timedelta(seconds=9)),
    "a token": digest_of,
    "a correlation id": correlation_id_of,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_a_reader_is_linear(reader: Callable[[str], object]) -> None:
    tune_crewai()
    assert_linear(reader, ["", "[1"], 10 * SUSPICIOUS)
