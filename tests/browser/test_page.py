"""The page in Chromium, against the real stack: what people do there, by mouse and by keyboard alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import WHY_NOT, Tab
from tests.browser.example_jobs import TEXT, Shown
from tests.support.stack import RunningStack, running_stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")
NewTab = Callable[..., Tab]


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningStack]:
    with running_stack(1, "--auth") as stack:
        yield stack


def test_a_topic_is_submitted_answered_and_deleted(shown: Shown, new_tab: NewTab) -> None:
    tab = new_tab(shown.stack.url)
    page = tab.page
    tab.open("/#/new", "#input-topic")
    page.fill("#input-topic", "when should I not use SQLite?")
    page.fill("#input-language", "en")
    page.click("text=Start the run")
    page.wait_for_selector(".prose")
    job_id = page.url.rpartition("/")[2]
    answer = shown.stack.client.get(f"/crewai/status/{job_id}").json()
    assert page.locator(".badge").inner_text() == "completed"
    assert page.locator(".cite").count() == answer["result"].count("[")
    page.locator(".cite").first.click()
    passage = page.locator(".sources details[open] .passage")
    assert answer["sources"][0]["text"].split()[0] in passage.inner_text()
    assert page.locator(".timeline rect.at-model").count() == answer["receipt"]["calls_paid"]
    page.click("button:text-is('Delete')")
    page.click("dialog button:text-is('Delete it')")
    page.wait_for_selector("h1:text-is('Jobs')")
    assert shown.stack.client.get(f"/crewai/status/{job_id}").status_code == 404


def test_a_refused_field_says_what_is_wrong_where_it_is(shown: Shown, new_tab: NewTab) -> None:
    tab = new_tab(shown.stack.url)
    page = tab.page
    tab.open("/#/new", "#input-topic")
    page.click("text=Start the run")
    assert page.get_attribute("#input-topic", "aria-invalid") == "true"
    page.fill("#input-topic", "sqlite")
    page.fill("#input-language", "english")
    page.click("text=Start the run")
    page.wait_for_selector("#input-language[aria-invalid]")
    assert "BCP 47" in page.inner_text("#input-language-wrong")
    assert page.evaluate("document.activeElement.id") == "input-language"
    assert page.input_value("#input-topic") == "sqlite"


def test_a_job_of_many_runs_shows_them_and_its_file(shown: Shown, new_tab: NewTab, tmp_path: Path) -> None:
    tab = new_tab(shown.stack.url)
    page = tab.page
    tab.open(f"/#/jobs/{shown.examples.rich}", ".timeline circle.at-completed")

    def count(kind: str) -> int:
        found: int = page.locator(f".timeline g .at-{kind}").count()
        return found

    assert {kind: count(kind) for kind in ("run", "replay", "task", "model", "retrieval", "tool", "wait")} == {
        "run": 4, "replay": 3, "task": 2, "model": 5, "retrieval": 1, "tool": 1, "wait": 1
    }  # fmt: skip
    assert min(count("kill"), count("relay")) > 0
    assert page.locator(".prose table td").count() == 9
    with page.expect_download() as saved:
        page.click("button:text-is('Save as SVG')")
    picture = Path(saved.value.path()).read_text()
    assert saved.value.suggested_filename == f"{shown.examples.rich}.svg"
    assert picture.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "#8a63b8" in picture
    with page.expect_download() as saved:
        page.click("button:text-is('output/report.md')")
    assert Path(saved.value.path()).read_text() == TEXT


def test_the_list_is_filtered_and_follows_what_happens(shown: Shown, new_tab: NewTab) -> None:
    tab = new_tab(shown.stack.url)
    page = tab.page
    tab.open("/#/", "table.list")
    page.select_option(".filter select >> nth=0", "failed")
    wait_until(lambda: page.locator("tbody tr").count() == 1, within=20)
    assert page.inner_text("tbody .badge") == "failed"
    assert "no quota" in page.inner_text("tbody")
    page.click("text=Show all")
    wait_until(lambda: page.locator("tbody tr").count() > 3, within=20)
    job_id = shown.stack.client.post("/crewai/run/async", json={"topic": "neural networks", "language": "en"}).json()[
        "job_id"
    ]
    page.wait_for_selector(f"[data-job='{job_id}'] .is-completed")


def test_a_batch_from_a_file_is_followed_to_its_results(shown: Shown, new_tab: NewTab, tmp_path: Path) -> None:
    topics = tmp_path / "topics.csv"
    topics.write_text(
        'topic,language,custom_id\n"neural networks, in ""short""",en,one\nsqlite,de,two\nwal,english,three\n'
    )
    tab = new_tab(shown.stack.url)
    page = tab.page
    tab.open("/#/batch", "#topics")
    page.set_input_files("#file", topics)
    page.wait_for_selector("text=3 jobs will be started.")
    page.click("text=Start them")
    page.wait_for_selector("text=3 of 3")
    assert "three" in page.inner_text("[aria-label='Not started']")
    assert page.get_attribute(".stack", "aria-label") == "2 completed, 1 rejected"
    with page.expect_download() as saved:
        page.click("text=Save the results")
    lines = [json.loads(line) for line in Path(saved.value.path()).read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == ["one", "two", "three"]
    assert lines[0]["job"]["inputs"]["topic"] == 'neural networks, in "short"'
    page.click("text=Its jobs")
    wait_until(lambda: page.locator("tbody tr").count() == 2, within=20)


def test_a_thousand_lines_are_one_batch_and_one_more_is_refused(shown: Shown, new_tab: NewTab) -> None:
    tab = new_tab(shown.stack.url)
    page = tab.page
    tab.open("/#/batch", "#topics")
    page.fill("#topics", "\n".join(f"topic {number}" for number in range(1001)))
    page.click("text=Start them")
    page.wait_for_selector("text=At most 1,000 can be sent at once")


def test_a_token_is_asked_for_and_stays_in_its_tab(guarded: RunningStack, new_tab: NewTab) -> None:
    token = guarded.client.headers["Authorization"].removeprefix("Bearer ")
    tab = new_tab(guarded.url)
    page = tab.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    tab.open("/#/new", "#token")
    page.fill("#token", "crt_wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token[aria-invalid]")
    page.fill("#token", token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#input-topic")
    page.reload()
    page.wait_for_selector("#input-topic")
    assert not [url for url in asked if token in url]
    assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
    other = page.context.new_page()
    other.goto(f"{guarded.url}/")
    other.wait_for_selector("#token")
    page.click("text=Sign out")
    page.wait_for_selector("#token")
    assert page.evaluate("sessionStorage.length") == 0


def pressed(page: Any, wanted: str, key: str = "Tab", at_most: int = 60) -> None:
    """Press Tab until the focus is on what fits, and see that it can be seen there."""
    for _ in range(at_most):
        page.keyboard.press(key)
        if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", wanted
            return
    raise AssertionError(f"no Tab reaches {wanted}")


def test_everything_is_done_by_keyboard_alone(shown: Shown, new_tab: NewTab) -> None:
    tab = new_tab(shown.stack.url)
    page = tab.page
    tab.open("/", "table.list")
    pressed(page, ".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    pressed(page, "a[href='#/new'].button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#input-topic:focus")
    page.keyboard.type("neural networks")
    pressed(page, "#input-language")
    page.keyboard.press("Control+A")
    page.keyboard.type("en")
    page.keyboard.press("Enter")
    page.wait_for_selector(".prose")
    pressed(page, ".cite")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sources details[open] summary:focus")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sources details[open]", state="detached")
    pressed(page, ".heading button", "Shift+Tab")
    while page.evaluate("document.activeElement.textContent") != "Delete":
        pressed(page, ".heading button", "Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.locator(".prose").count() == 1


def test_a_question_is_answered_there(shown: Shown, new_tab: NewTab) -> None:
    job_id = shown.examples.waiting
    tab = new_tab(shown.stack.url)
    page = tab.page
    tab.open(f"/#/jobs/{job_id}", "#feedback")
    assert page.inner_text(".quoted strong") == "checkpoints"
    page.fill("#feedback", "Mention the log.")
    page.click("button:text-is('revise')")
    page.wait_for_selector("#feedback", state="detached")
    wait_until(lambda: shown.stack.client.get(f"/crewai/status/{job_id}").json()["status"] != "waiting", within=10)


def test_an_outage_is_told_and_gone_on_from(new_tab: NewTab) -> None:
    with running_stack(1) as stack:
        tab = new_tab(stack.url)
        tab.open("/", ".empty")
        stack.process.terminate()
        stack.process.wait(15)
        tab.page.wait_for_selector("#banner:not([hidden])", timeout=30000)


def test_the_documentation_needs_no_other_host(shown: Shown, new_tab: NewTab) -> None:
    tab = new_tab(shown.stack.url)
    tab.open("/docs", ".opblock")
    tab.page.click(".opblock-summary-control >> nth=0")
    tab.page.wait_for_selector(".opblock-body")
