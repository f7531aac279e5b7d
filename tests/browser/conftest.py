"""One browser, and one stack with jobs that ended before it started, for all tests of the page."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.chromium import Tab, chromium
from tests.browser.example_jobs import Shown, put_examples
from tests.support.stack import running_stack


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("data")
    examples = put_examples(folder)
    with running_stack(1, CREWRELAY_DATA=str(folder)) as stack:
        yield Shown(stack, examples)


@pytest.fixture
def new_tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens a tab on a service, with options of Playwright's contexts. In the end nothing may have gone wrong in it."""
    tabs: list[Tab] = []

    def make(url: str, **options: Any) -> Tab:
        tab = Tab(browser.new_context(**options).new_page(), url)
        tab.page.set_default_timeout(20000)
        tabs.append(tab)
        return tab

    yield make
    trouble = [tab.trouble() for tab in tabs]
    for tab in tabs:
        tab.page.context.close()
    assert not any(trouble), trouble
