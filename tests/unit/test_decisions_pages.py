"""The index of docs/decisions names every page, and how many decisions are in it."""

import re

from tests.support.processes import ROOT

PAGES = ROOT / "docs/decisions"


def test_the_index_counts_the_decisions_of_every_page() -> None:
    index = dict(re.findall(r"^\| \[.*?\]\((.*?)\) \| (\d+) \|$", (PAGES / "README.md").read_text(), re.MULTILINE))
    pages = [page for page in PAGES.glob("*.md") if page.name != "README.md"]
    assert index == {page.name: str(len(re.findall(r"^\*\*", page.read_text(), re.MULTILINE))) for page in pages}
