"""Asks in the page as a person does, and waits for the answer to be shown: python -m tests.newcomer.in_browser URL."""

import sys

from tests.browser.chromium import Tab, chromium

if __name__ == "__main__":
    with chromium() as browser:
        tab = Tab(browser.new_page(), sys.argv[1])
        tab.open("/#/new", "#input-topic")
        tab.page.fill("#input-topic", "neural networks")
        tab.page.click("text=Start the run")
        tab.page.wait_for_selector(".prose", timeout=60_000)
        sys.exit("\n".join(tab.trouble()) or 0)
