"""Ingestion into an embedded collection: what is written, what is left as it is, what is refused."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from crewrelay.jobs.errors import RetrievalUnavailable
from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Collection, Document, Embedding, Vector
from crewrelay.retrieval.embedded.collection import EmbeddedCollection
from crewrelay.retrieval.embedded.collections import EmbeddedCollections
from crewrelay.retrieval.embedder import Vectors
from crewrelay.retrieval.ingestion import SLICE, Ingested, Ingestion, Outcome
from crewrelay.retrieval.persistence import PersistentCollection
from crewrelay.retrieval.reading.files import File, files_under
from crewrelay.retrieval.reading.reader import Reader
from tests.support import documents
from tests.support.doubles.embedder import WordEmbedder
from tests.support.passages import contents


class Desk:
    """A folder of documents, the working directory above it, and a collection that they go into."""

    def __init__(self, folder: Path, reader: Reader) -> None:
        self.reader = reader
        self.docs = folder / "docs"
        self.docs.mkdir()
        self.embedder = WordEmbedder()
        embedding = Embedding(self.embedder.name, self.embedder.dimension)
        self.collection: Collection = EmbeddedCollections(folder / "store").create("c", embedding)

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.docs / f"{name}.txt").write_text(text)

    def ingest(self, dry_run: bool = False, prune: bool = False) -> dict[str, Ingested]:
        """What became of each document."""
        self.embedder.embedded.clear()
        ingestion = Ingestion(self.collection, self.embedder, self.reader, dry_run)
        done = list(ingestion.ingest(files_under([self.docs])))
        if prune:
            done += ingestion.prune([self.docs])
        return {one.source: one for one in done}

    def outcomes(self, dry_run: bool = False, prune: bool = False) -> dict[str, Outcome]:
        return {source: one.outcome for source, one in self.ingest(dry_run, prune).items()}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Reader) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, reader)


def test_documents_become_passages_with_their_source(desk: Desk) -> None:
    desk.write(cats="Cats purr. They sleep.", rain="Rain falls.")
    assert desk.ingest() == {
        "docs/cats.txt": Ingested("docs/cats.txt", Outcome.ADDED, 1),
        "docs/rain.txt": Ingested("docs/rain.txt", Outcome.ADDED, 1),
    }
    assert desk.embedder.embedded == ["cats\nCats purr. They sleep.", "rain\nRain falls."]
    assert [chunk.id for chunk in contents(desk.collection)] == ["docs/cats.txt#1", "docs/rain.txt#1"]


def test_the_same_again_embeds_nothing_and_writes_nothing(desk: Desk, tmp_path: Path) -> None:
    desk.write(cats="Cats purr.", rain="Rain falls.")
    desk.ingest()
    before = (tmp_path / "store" / "collections.sqlite").read_bytes()
    assert set(desk.outcomes().values()) == {Outcome.UNCHANGED}
    assert desk.embedder.embedded == []
    assert (tmp_path / "store" / "collections.sqlite").read_bytes() == before


def test_a_changed_file_takes_the_place_of_its_old_passages(desk: Desk) -> None:
    sentence = "It is a sentence of ten words that says little. "
    desk.write(long=sentence * 60, rain="Rain falls.")
    assert desk.ingest()["docs/long.txt"].passages > 2
    desk.write(long="It is short now.")
    assert desk.outcomes() == {"docs/long.txt": Outcome.CHANGED, "docs/rain.txt": Outcome.UNCHANGED}
    assert [chunk.text for chunk in contents(desk.collection)] == ["It is short now.", "Rain falls."]


def test_a_file_that_is_gone_stays_until_it_is_pruned(desk: Desk) -> None:
    desk.write(cats="Cats purr.", rain="Rain falls.")
    desk.ingest()
    (desk.docs / "cats.txt").unlink()
    assert desk.outcomes() == {"docs/rain.txt": Outcome.UNCHANGED}
    assert desk.collection.count() == 2
    pruned = {"docs/rain.txt": Outcome.UNCHANGED, "docs/cats.txt": Outcome.REMOVED}
    assert desk.outcomes(dry_run=True, prune=True) == pruned
    assert desk.collection.count() == 2
    assert desk.outcomes(prune=True) == pruned
    assert [document.source for document in desk.collection.documents()] == ["docs/rain.txt"]


def test_pruning_leaves_what_lies_elsewhere(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "docs-of-others"
    other.mkdir()
    (other / "a.txt").write_text("Another.")
    list(Ingestion(desk.collection, desk.embedder, desk.reader).ingest(files_under([other])))
    shutil.rmtree(other)
    assert desk.outcomes(prune=True) == {}
    assert desk.collection.count() == 1


def test_a_dry_run_says_the_same_and_does_nothing(desk: Desk) -> None:
    desk.write(cats="Cats purr.")
    dry = desk.ingest(dry_run=True)
    assert desk.collection.count() == 0
    assert desk.embedder.embedded == []
    assert dry == desk.ingest()


def test_a_dry_run_needs_no_collection(desk: Desk) -> None:
    desk.write(cats="Cats purr.")
    ingestion = Ingestion(None, desk.embedder, desk.reader, dry_run=True)
    assert [one.outcome for one in ingestion.ingest(files_under([desk.docs]))] == [Outcome.ADDED]
    assert list(ingestion.prune([desk.docs])) == []


def test_bad_files_are_named_and_the_others_are_read(desk: Desk) -> None:
    desk.write(cats="Cats purr.", empty="")
    (desk.docs / "garbage.txt").write_bytes(bytes(range(256)))
    (desk.docs / "locked.pdf").write_bytes(documents.encrypted(documents.pdf(["Secret."])))
    (desk.docs / "scan.pdf").write_bytes(documents.pdf([]))
    done = desk.ingest()
    assert {source: one.reason for source, one in done.items() if one.outcome is Outcome.SKIPPED} == {
        "docs/empty.txt": "it is empty",
        "docs/garbage.txt": "it is not text",
        "docs/locked.pdf": "File has not been decrypted",
        "docs/scan.pdf": "it holds no text; its pages may be pictures",
    }
    assert desk.collection.count() == 1


def test_a_document_that_can_no_longer_be_read_stays_as_it_was(desk: Desk) -> None:
    desk.write(cats="Cats purr.")
    desk.ingest()
    desk.write(cats="\0")
    assert desk.outcomes() == {"docs/cats.txt": Outcome.SKIPPED}
    assert [chunk.text for chunk in contents(desk.collection)] == ["Cats purr."]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("k\udce4ufer.txt", "k?ufer.txt"),
        ("two\nlines.txt", "two%0Alines.txt"),
        ("\x1b[31mred\x9b.txt", "%1B[31mred%C2%9B.txt"),
        ("txt.\u202exe.txt", "txt.%E2%80%AExe.txt"),
    ],
)
def test_a_file_whose_name_can_not_be_shown_is_skipped(desk: Desk, name: str, told: str) -> None:
    (desk.docs / name).write_text("Text.")
    (desk.docs / "\u0646\u0627\u0645\u0647\u200c\u0647\u0627 \u2013 a\u00a0b.txt").write_text("Text.")
    skipped, read = desk.ingest().values()
    reason = "its name is not UTF-8 or has invisible characters"
    assert skipped == Ingested(f"docs/{told}", Outcome.SKIPPED, reason=reason)
    assert read.outcome is Outcome.ADDED


def test_what_was_done_before_an_embedder_failed_is_not_done_again(desk: Desk) -> None:
    desk.write(a="One.", b="Two.", c="Three.")

    class Failing(WordEmbedder):
        def passages(self, texts: Sequence[str]) -> Vectors:
            if "Three." in texts[0]:
                raise RetrievalUnavailable("It did not answer.")
            return super().passages(texts)

    with pytest.raises(RetrievalUnavailable):
        list(Ingestion(desk.collection, Failing(), desk.reader).ingest(files_under([desk.docs])))
    unchanged = {"docs/a.txt": Outcome.UNCHANGED, "docs/b.txt": Outcome.UNCHANGED}
    assert desk.outcomes() == {**unchanged, "docs/c.txt": Outcome.ADDED}


def test_a_file_is_read_when_its_turn_has_come(desk: Desk) -> None:
    desk.write(a="One.", b="Two.")
    asked: list[Path] = []

    def files() -> Iterator[File]:
        for file in files_under([desk.docs]):
            asked.append(file.path)
            yield file

    ingested = Ingestion(desk.collection, desk.embedder, desk.reader).ingest(files())
    assert asked == []
    next(ingested)
    assert [path.name for path in asked] == ["a.txt"]
    assert desk.collection.count() == 1


def test_files_are_those_of_known_formats_in_order_and_none_that_is_hidden(tmp_path: Path) -> None:
    for name in ("b.md", "a.txt", "deep/c.HTML", "deep/.hidden.txt", ".git/d.txt", "picture.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [file.path.relative_to(tmp_path).as_posix() for file in files_under([tmp_path])]
    assert found == ["a.txt", "b.md", "deep/c.HTML"]
    assert list(files_under([tmp_path / "picture.png"])) == [File(tmp_path / "picture.png", tmp_path)]


def test_a_source_is_the_same_however_its_path_is_written(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write(a="One.")
    desk.ingest()
    for path in (Path("docs"), Path("docs/../docs/a.txt"), desk.docs.absolute()):
        ingestion = Ingestion(desk.collection, desk.embedder, desk.reader)
        assert [one.outcome for one in ingestion.ingest(files_under([path]))] == [Outcome.UNCHANGED]
    monkeypatch.chdir("/")
    assert desk.outcomes() == {f"{desk.docs}/a.txt".removeprefix("/"): Outcome.ADDED}


def test_how_much_is_embedded_is_told_slice_by_slice(desk: Desk) -> None:
    desk.write(long="\n\n".join(f"Paragraph {number}: {'word ' * 40}." for number in range(2 * SLICE + 10)))
    told: list[tuple[int, float]] = []
    ingestion = Ingestion(
        desk.collection, desk.embedder, desk.reader, embedded=lambda chunks, share: told.append((chunks, share))
    )
    [one] = ingestion.ingest(files_under([desk.docs]))
    assert [chunks for chunks, _ in told] == [SLICE, SLICE, one.passages - 2 * SLICE]
    assert sum(share for _, share in told) == pytest.approx(1)
    assert desk.collection.count() == one.passages


class Restarting(EmbeddedCollection):
    """Does not answer `failures` times in a row, whatever it is asked."""

    failures = 0

    def digest(self, source: str) -> str | None:
        self._answer()
        return super().digest(source)

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        self._answer()
        super().put(document, chunks, vectors)

    def _answer(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RetrievalUnavailable("It starts.")


def test_an_ingestion_outlives_a_restart_of_its_store(desk: Desk) -> None:
    desk.write(a="One.", b="Two.")
    restarting = desk.collection
    restarting.__class__ = Restarting
    assert isinstance(restarting, Restarting)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)

    persistent = PersistentCollection(restarting, pause)
    restarting.failures = 3
    done = Ingestion(persistent, desk.embedder, desk.reader).ingest(files_under([desk.docs]))
    assert [one.outcome for one in done] == [Outcome.ADDED, Outcome.ADDED]
    assert pauses == [1.0, 2.0, 4.0]
    restarting.failures = 99
    with pytest.raises(RetrievalUnavailable):
        list(Ingestion(persistent, desk.embedder, desk.reader).ingest(files_under([desk.docs])))
