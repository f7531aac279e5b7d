"""docs/documents.md and `crewrelay ingest --help` name the limits that are kept."""

from typer.testing import CliRunner

from crewrelay.cli.commands import app
from crewrelay.retrieval.reading.limits import FILE, MB, MEMORY, PASSAGES, SECONDS, UNPACKED
from crewrelay.retrieval.reading.names import LONGEST
from tests.support.processes import ROOT


def test_the_page_names_the_limits() -> None:
    page = (ROOT / "docs/documents.md").read_text()
    for cell in (
        f"its file | {FILE // MB} MB",
        f"made of any file | {UNPACKED // MB} MB",
        f"paragraphs of a DOCX | {PASSAGES:,}",
        f"on Linux | {MEMORY // MB:,} MB",
        f"{SECONDS} s of CPU, {2 * SECONDS} s by the clock",
        f"at most {LONGEST} characters",
    ):
        assert cell in page


def test_the_help_names_what_a_file_may_take() -> None:
    told = " ".join(CliRunner().invoke(app, ["ingest", "--help"], env={"COLUMNS": "200"}).output.split())
    for limit in (f"{FILE // MB} MB", f"{MEMORY // MB:,} MB", f"{SECONDS} s"):
        assert limit in told
