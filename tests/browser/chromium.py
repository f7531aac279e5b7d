"""Debian's Chromium, by hand or driven by Playwright, which reports whatever a page did that it may not."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WHY_NOT = (
    "there is no Chromium here: `make browser` says how to have it"
    if PROGRAM is None
    else None
    if find_spec("playwright")
    else "there is no Playwright here: `make browser` installs it"
)
_QUIET = (
    "--no-sandbox",  # root, as whom CI runs, can't have it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_WATCH = """
window.refusals = [];
document.addEventListener("securitypolicyviolation",
  event => window.refusals.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


class Tab:
    """A page of the browser, and what went wrong in it: dialogs, errors, refusals of its policy, foreign requests."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.wrong: list[str] = []
        page.add_init_script(_WATCH)
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", self._request)

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.wrong.append(f"request: {request.url}")

    def open(self, path: str, shown: str) -> None:
        """Go there, and wait until something is shown."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector(shown)

    def trouble(self) -> list[str]:
        return [*self.wrong, *self.page.evaluate("window.refusals")]


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()


def axe() -> str:
    """The source of axe-core."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("axe.min.js").read_text()
