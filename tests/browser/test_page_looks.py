"""Every view in light, dark and narrow: axe-core finds nothing, nothing is cut off; and the pictures of the docs."""

from collections.abc import Callable
from typing import Any

import pytest

from crewrelay.http import assets
from tests.browser.chromium import WHY_NOT, Tab, axe
from tests.browser.example_jobs import Shown
from tests.support.processes import ROOT

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")
NewTab = Callable[..., Tab]
IMAGES = ROOT / "docs/images"

VIEWS = {
    "jobs": ("/#/", "table.list"),
    "no jobs": ("/#/?status=running", ".empty"),
    "new": ("/#/new", "#input-topic"),
    "batch": ("/#/batch", "#topics"),
    "completed": ("/#/jobs/{rich}", ".timeline circle.at-completed"),
    "waiting": ("/#/jobs/{waiting}", "#feedback, .prose"),
    "failed": ("/#/jobs/{failed}", ".problem"),
    "cancelled": ("/#/jobs/{cancelled}", ".timeline"),
    "unknown": ("/#/jobs/00000000-0000-0000-0000-000000000000", ".problem"),
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1100, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1100, "height": 900}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 360, "height": 780}},
    "wide": {"color_scheme": "dark", "viewport": {"width": 2200, "height": 1200}},
}
RULES = '{"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}'


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_window(shown: Shown, new_tab: NewTab, look: str) -> None:
    tab = new_tab(shown.stack.url, bypass_csp=True, reduced_motion="reduce", **LOOKS[look])
    page = tab.page
    found, wide = {}, {}
    for name, (path, ready) in VIEWS.items():
        page.goto("about:blank")
        tab.open(path.format(**vars(shown.examples)), ready)
        page.evaluate("() => { for (const each of document.querySelectorAll('details')) each.open = true; }")
        page.evaluate(axe())
        violations = page.evaluate(f"axe.run(document, {RULES})")["violations"]
        found[name] = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in violations]
        wide[name] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    print(f"\n{look}: {len(VIEWS)} views, {sum(map(len, found.values()))} violations")
    assert {name: each for name, each in found.items() if each} == {}
    assert {name: more for name, more in wide.items() if more > 0} == {}


PICTURES = {
    "page-job": ("completed", "light", 1),
    "page-job-dark": ("completed", "dark", 1),
    "page-jobs": ("jobs", "light", 1),
    "page-narrow": ("completed", "narrow", 2),
}


def test_the_pictures_of_the_documentation_are_of_this_page(browser: Any, shown: Shown, new_tab: NewTab) -> None:
    """They are made anew when a file of the page has changed, and then have to be committed."""
    of = IMAGES / "page.version"
    if (
        of.exists()
        and of.read_text().strip() == assets.page().version
        and all((IMAGES / f"{name}.png").exists() for name in PICTURES)
    ):
        return
    IMAGES.mkdir(exist_ok=True)
    for name, (view, look, scale) in PICTURES.items():
        tab = new_tab(shown.stack.url, reduced_motion="reduce", device_scale_factor=scale, **LOOKS[look])
        path, ready = VIEWS[view]
        tab.open(path.format(**vars(shown.examples)), ready)
        tab.page.evaluate("document.fonts.ready")
        if name == "page-job":
            tab.page.set_viewport_size({"width": 1100, "height": 1400})
        tab.page.screenshot(path=IMAGES / f"{name}.png")
    of.write_text(f"{assets.page().version}\n")
