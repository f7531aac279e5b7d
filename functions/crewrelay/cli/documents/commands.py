"""The commands about documents: ingest, search and `crewrelay collections`."""

import os
import time
from collections import Counter
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crewrelay.cli.options import AsJson
from crewrelay.cli.output.text import say, say_json, say_line, say_table
from crewrelay.cli.terminal import exit_on_error, fail, note
from crewrelay.jobs import text
from crewrelay.jobs.errors import CollectionMissing, RetrievalMisconfigured

if TYPE_CHECKING:
    from crewrelay.retrieval.collection import Collections

_NEEDED = ("haystack", "numpy", "pypdf", "docx", "trafilatura", "markdown_it", "mdit_plain", "rich")

CollectionName = Annotated[
    str, typer.Option("--collection", "-c", help="Default: CREWRELAY_COLLECTION, else documents.")
]

collections_app = typer.Typer(help="List and delete collections.", invoke_without_command=True)


def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, and folders of files.")],
    collection: CollectionName = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, without doing it.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents whose files are gone from PATH.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ingest text, Markdown, HTML, PDF and DOCX files into a collection. Unchanged documents are skipped.

    Symbolic links are followed within the given folder.

    A file that can't be read, is larger than 64 MB, or takes more than 1,024 MB
    of memory or 120 s to read, is reported and skipped; the exit code is then 1.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        fail(f"the packages {', '.join(missing)} are missing; install crewrelay[ingest]")
    if absent := [str(path) for path in paths if not os.path.exists(path)]:
        fail(f"there is no {', no '.join(absent)}")
    from crewrelay.retrieval.reading.reader import Reader

    with exit_on_error(), ExitStack() as until_done:
        reader = until_done.enter_context(Reader())  # starts in the background during the imports below
        from crewrelay.cli.documents.ingestion_progress import IngestionProgress
        from crewrelay.retrieval.collection import DOCUMENTS
        from crewrelay.retrieval.ingestion import Ingestion, Outcome
        from crewrelay.retrieval.persistence import PersistentCollection, PersistentEmbedder
        from crewrelay.retrieval.reading.files import FORMATS, files_under
        from crewrelay.wiring import retrieval
        from crewrelay.wiring.secrets import embedder_settings, retrieval_settings

        started, outcomes, passages = time.monotonic(), Counter[Outcome](), 0
        settings = retrieval_settings(collection)
        name = settings.collection or DOCUMENTS
        embedder = PersistentEmbedder(retrieval.embedder(embedder_settings()), time.sleep)
        if not any(True for _ in files_under(paths)) and not prune:
            fail(f"there is nothing to ingest: no file name ends with {', '.join(sorted(FORMATS))}")
        stores = until_done.enter_context(closing(retrieval.collections(settings)))
        found = retrieval.target(stores, name, embedder, dry_run)
        target = found and PersistentCollection(found, time.sleep)
        progress = until_done.enter_context(IngestionProgress(name, files_under(paths)))
        ingestion = Ingestion(target, embedder, reader, dry_run, progress.embedded)
        for one in ingestion.ingest(progress.through(files_under(paths))):
            outcomes[one.outcome] += 1
            passages += one.passages
            if one.outcome is Outcome.SKIPPED:
                note(f"crewrelay: skipped {one.source}: {one.reason}")
            elif dry_run and one.outcome is not Outcome.UNCHANGED and not as_json:
                say(f"{one.outcome} {one.source}, {one.passages} passages")
        for one in ingestion.prune(paths) if prune else ():
            outcomes[one.outcome] += 1
            if not as_json:
                say(f"{one.outcome} {text.name(one.source)}")
    counts = ", ".join(
        f"{outcomes[outcome]} {outcome}" for outcome in Outcome if outcomes[outcome] or outcome != "removed"
    )
    would = "dry run, nothing was written: " if dry_run else ""
    took = f"in {time.monotonic() - started:.1f} s{progress.summary()}"
    if as_json:
        documents = {str(outcome): outcomes[outcome] for outcome in Outcome}
        say_json({"collection": name, "dry_run": dry_run, "documents": documents, "passages": passages})
    else:
        say(f"{would}{counts}; {passages} passages into {name} {took}")
    if outcomes[Outcome.SKIPPED]:
        raise typer.Exit(1)


def search(
    query: Annotated[str, typer.Argument(help="A question or a few words, in any language.")],
    collection: CollectionName = "",
    top_k: Annotated[int, typer.Option(help="How many passages to show.", min=1, max=100)] = 5,
    as_json: AsJson = False,
) -> None:
    """Show the passages that crews would find, with their scores."""
    from crewrelay.wiring import retrieval
    from crewrelay.wiring.secrets import embedder_settings, retrieval_settings

    with exit_on_error():
        settings, embedder = (
            retrieval_settings(collection),
            retrieval.embedder(embedder_settings()),
        )
        with closing(retrieval.collections(settings)) as stores:
            passages = retrieval.retriever(stores, settings, embedder).retrieve(query, top_k)
    for passage in passages:
        if as_json:
            say_line(passage.model_dump(mode="json", exclude={"number"}))
        else:
            say(f"{passage.score:.3f}  {passage.title} ({passage.url}) {passage.id}\n{passage.text}\n")
    if not passages:
        note("nothing was found")


@collections_app.callback()
def collections(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_collections(as_json)


@collections_app.command("list")
def list_collections(as_json: AsJson = False) -> None:
    """List the collections: name, documents, passages and embedder."""
    from crewrelay.wiring import retrieval
    from crewrelay.wiring.secrets import retrieval_settings

    with exit_on_error(), closing(retrieval.collections(retrieval_settings())) as stores:
        rows = [_row(stores, name) for name in stores.names()]
    columns = ("collection", "documents", "passages", "embedder")
    if not as_json:
        return say_table([column.upper() for column in columns], rows)
    for row in rows:
        say_line({name: int(cell) if cell.isdigit() else cell for name, cell in zip(columns, row, strict=True)})


def _row(stores: "Collections", name: str) -> tuple[str, str, str, str]:
    """One that can't be opened is listed with the reason."""
    try:
        embedding = stores.embedding(name)
        opened = stores.open(name, embedding)
        documents = sum(1 for _ in opened.documents())
        return name, str(documents), str(opened.count()), f"{embedding.embedder} ({embedding.dimension})"
    except (RetrievalMisconfigured, CollectionMissing) as error:
        return name, "–", "–", str(error)


@collections_app.command("delete")
def delete_collection(
    name: Annotated[str, typer.Argument(help="The collection's name.")], as_json: AsJson = False
) -> None:
    """Delete a collection and everything in it."""
    from crewrelay.wiring import retrieval
    from crewrelay.wiring.secrets import retrieval_settings

    with exit_on_error(), closing(retrieval.collections(retrieval_settings())) as stores:
        stores.delete(name)
    say_json({"collection": name, "deleted": True}) if as_json else say(f"deleted {name}")
