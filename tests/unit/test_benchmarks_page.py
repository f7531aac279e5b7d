"""docs/benchmarks.md and its plots are what the measured figures give, and nobody edits them by hand."""

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.bench import page
from tests.bench.plots import bars, curve
from tests.support.processes import ROOT

MEASURED: dict[str, Any] = json.loads(page.MEASURED.read_text())


def test_the_page_and_its_plots_are_those_of_the_figures() -> None:
    """After `make bench`, or `python -m tests.bench --write` if only their look has changed."""
    files = page.files(MEASURED)
    assert {file: file.read_text() for file in files} == files
    assert {*ROOT.glob("docs/images/bench-*.svg")} == {file for file in files if file.suffix == ".svg"}


def test_another_figure_is_another_page_and_another_plot() -> None:
    half = {"on": "2026-11-30", "load_before": 0, "took_s": 1, "short": False, "jobs": 200, "begun_mb": 1}
    figures = MEASURED | {"memory": half | {"curve_mb": [(100, 300.5), (200, 301)], "late_kb_per_job": 5}}
    other = figures | {"memory": half | {"curve_mb": [(100, 300.5), (200, 302)], "late_kb_per_job": 15}}
    before, after = page.files(figures), page.files(other)
    assert {file.name for file in before if before[file] != after[file]} == {"benchmarks.md", "bench-memory.svg"}


@pytest.mark.parametrize(
    "drawn",
    [
        bars("Two & three", "ms", [("crewrelay", 2), ("a <b>", 0)]),
        bars("Nothing", "", [("a", 0)]),
        curve("Memory", "MB", [(100, 300.5), (1000, 301)], "jobs"),
    ],
)
def test_a_plot_is_sound_xml_says_its_figures_and_has_a_dark_look(drawn: str) -> None:
    root = ET.fromstring(drawn)
    assert root.get("role") == "img"
    assert ":" in (root.get("aria-label") or "")
    assert "prefers-color-scheme: dark" in drawn
