"""Whatever text a job has, the page runs none of it, loads nothing for it, and its policy has nothing to refuse."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest

from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer, File, Source
from crewrelay.jobs.records.job import Failure
from crewrelay.jobs.records.questions import Question
from tests.browser.chromium import WHY_NOT, Tab
from tests.browser.hostile_texts import TEXTS, as_markdown
from tests.browser.past_jobs import FailedAs, PastJobs
from tests.support.stack import RunningStack, running_stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")

# Elements that the page itself never makes of a job's text, listeners in attributes, and addresses that lead astray.
FOUND = """() => [...document.querySelectorAll("main *")].flatMap(element => [
  ...(/^(script|img|iframe|object|embed|style|link|meta|base|video|audio|math|animate|template|marquee)$/i.test(element.localName)
    ? [element.outerHTML] : []),
  ...[...element.attributes].filter(({ name, value }) =>
    /^on|^style$|^srcdoc$/i.test(name) ||
    (/^(href|src|action|formaction|xlink:href)$/i.test(name) && !/^(https?:\\/\\/|mailto:|blob:|#)/i.test(value))
  ).map(({ name, value }) => `${name}=${value}`),
])"""
OPEN_ALL = "() => { for (const each of document.querySelectorAll('details')) each.open = true; }"
HOVER_AND_FOCUS = """() => { for (const each of document.querySelectorAll('main *')) {
  for (const type of ['mouseover', 'focus', 'toggle', 'error', 'load']) each.dispatchEvent(new Event(type));
} }"""


class Hostile(NamedTuple):
    stack: RunningStack
    jobs: dict[str, str]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    folder = tmp_path_factory.mktemp("data")
    past = PastJobs(folder, timedelta(hours=1))
    every = " ".join(TEXTS)
    jobs = {}
    topics = {f"{text}"[:60]: text for text in TEXTS} | {"topic": every}

    def answers(calls: Calls) -> Answer:
        for number, text in enumerate(TEXTS, 1):
            calls.begin_task(text, text, number, len(TEXTS))
            past.model(calls, text, 0.2, 1, 1, model=text)
            calls.end_task()
        sources = tuple(
            Source(number=number, id=text, title=text, url=text, text=f"{text} {text}", excerpt=text)
            for number, text in enumerate(TEXTS, 1)
        )
        cited = " ".join(f"[{number}]" for number in range(1, len(TEXTS) + 1))
        files = tuple(
            File(name=f"{text}.md", size=1, digest=f"{number:064x}", content=b"x")
            for number, text in enumerate(TEXTS, 1)
        )
        return Answer(text=f"{cited}\n\n{as_markdown()}", sources=sources, usage=calls.usage(), files=files)

    def asks(calls: Calls) -> Answer:
        calls.ask(Question(message=every, task=every, output=as_markdown(), options=TEXTS, default=TEXTS[0]))
        raise AssertionError

    def fails(calls: Calls) -> Answer:
        raise FailedAs(Failure(type=TEXTS[0], message=every))

    for kind, script in (("answer", answers), ("question", asks), ("error", fails)):
        jobs[kind] = past.submitted(topics)
        past.runs(jobs[kind], script)
    for text in TEXTS:  # each in the list, too

        def fails_so(_: Calls, text: str = text) -> Answer:
            raise FailedAs(Failure(type=text, message=text))

        past.runs(past.submitted({"topic": text}), fails_so)
    with running_stack(1, CREWRELAY_DATA=str(folder)) as stack:
        yield Hostile(stack, jobs)


def test_there_are_many_of_them() -> None:
    assert len(set(TEXTS)) >= 40


@pytest.mark.parametrize(("kind", "shown"), [("answer", ".prose"), ("question", ".quoted"), ("error", ".problem")])
def test_nothing_of_a_job_runs(hostile: Hostile, new_tab: Callable[..., Tab], kind: str, shown: str) -> None:
    tab = new_tab(hostile.stack.url)
    tab.open(f"/#/jobs/{hostile.jobs[kind]}", shown)
    page = tab.page
    page.wait_for_selector(".timeline")
    page.evaluate(OPEN_ALL)
    page.evaluate(HOVER_AND_FOCUS)
    assert page.evaluate(FOUND) == []
    text = page.evaluate("document.querySelector('main').textContent")
    assert "<script>alert(1)</script>" in text
    if kind == "answer":
        assert page.locator(".sources details").count() == len(TEXTS)
        for link in page.locator("main a:has-text('click')").all():
            assert link.get_attribute("href").startswith("https://example.org/")
    assert tab.trouble() == []


def test_nothing_of_a_list_runs(hostile: Hostile, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(hostile.stack.url)
    tab.open("/#/?status=failed", "table.list")
    page = tab.page
    page.click("text=Show older jobs")
    wait_until(lambda: page.locator("tbody tr").count() > 40, within=20)
    page.evaluate(HOVER_AND_FOCUS)
    assert page.evaluate(FOUND) == []
    assert tab.trouble() == []


def test_an_address_of_the_page_carries_nothing_into_it(hostile: Hostile, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(hostile.stack.url)
    for text in TEXTS:
        for path in (f"/#/jobs/{text}", f"/#/?status={text}&batch={text}", f"/#{text}"):
            tab.page.goto(hostile.stack.url + path)
            tab.page.wait_for_selector("main > :not(.loading)")
            assert tab.page.evaluate(FOUND) == []
    assert tab.trouble() == []


def test_the_page_would_tell(hostile: Hostile, new_tab: Callable[..., Tab]) -> None:
    """What these tests look for is seen, if it happens; and Trusted Types refuse to parse text as HTML."""
    tab = new_tab(hostile.stack.url)
    tab.open("/", "table.list")
    page = tab.page
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<img src=x>'; return ''; } catch (error) { return error.name; } }"
    )
    assert refused == "TypeError"
    page.evaluate("() => document.querySelector('main').append(document.createElement('img'))")
    page.evaluate("alert(1)")
    assert page.evaluate(FOUND) != []
    assert tab.trouble() != []
    tab.wrong.clear()
    page.evaluate("window.refusals = []")


UNITS = (
    *("`", "*", "_", "**a ", "__a ", "_a*", "[", "[a](", "![", "[1]", "<https://", "(", "\\", " ", "  \n"),
    *("> ", "- ", "1. ", "|", "|-", "#", "# a ", "~~~", "\n- a\n  ", "\n> a"),
)
SHORT, TIMES, SLACK = 50_000, 4, 50  # characters; milliseconds


def test_the_time_to_read_markdown_grows_as_the_text_does(hostile: Hostile, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(hostile.stack.url)
    tab.open("/", "table.list")
    source = tab.page.evaluate("document.querySelector('script[type=module]').src").replace("app.js", "markdown.js")
    measured = tab.page.evaluate(
        """async ([source, units, sizes]) => {
          const { markdown } = await import(source);
          const took = (unit, size) => {
            const text = unit.repeat(Math.ceil(size / unit.length));
            const begun = performance.now();
            markdown(`a${text}b`);
            markdown(`${text}\\n${text}`);
            return performance.now() - begun;
          };
          const least = (unit, size) => Math.min(took(unit, size), took(unit, size));
          return Object.fromEntries(units.map(unit => [unit, sizes.map(size => least(unit, size))]));
        }""",
        [source, UNITS, [SHORT, TIMES * SHORT]],
    )
    slowest = max(measured, key=lambda unit: measured[unit][1])
    print(f"\n{len(UNITS)} texts of {TIMES * SHORT} characters: {slowest!r} took {measured[slowest][1]:.0f} ms at most")
    slow = {unit: times for unit, times in measured.items() if times[1] > 2.5 * TIMES * (times[0] + SLACK)}
    assert slow == {}  # squares would take 16 times as long
