"""What an agent is shown of passages: no more than its model's context window has room for."""

from datetime import timedelta
from typing import Any

import pytest

from crewrelay.crews.passages.search import fenced, shortened
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.answer import Passage
from crewrelay.jobs.records.job import JobInput
from crewrelay.testing import Unjournaled
from tests.support.doubles.crew import ScriptedModel

EXCERPT = "Here it is, word for word."
LONG = f"{'prior ' * 300}{EXCERPT}{' after' * 300}"


def passage(number: int, text: str = LONG) -> Passage:
    return Passage(id=f"p#{number}", title="Title", url="https://example.org", text=text, excerpt=EXCERPT)


@pytest.mark.parametrize("longest", [0, 26, 40, 200, 2000])
def test_a_passage_is_shortened_to_whole_words_around_its_excerpt(longest: int) -> None:
    shown = shortened(passage(1), longest).text
    assert shown in LONG
    assert EXCERPT in shown
    assert len(shown) <= max(longest, len(EXCERPT)) + 1
    assert set(shown.replace(EXCERPT, "").split()) <= {"prior", "after"}
    if longest >= 200:
        assert len(shown) > longest - 20
        assert abs(shown.count("prior") - shown.count("after")) <= 2


@pytest.mark.parametrize("text", [EXCERPT, f"{EXCERPT} {'after ' * 9}", f"{'prior ' * 9}{EXCERPT}"])
def test_an_excerpt_at_the_edge_of_a_passage(text: str) -> None:
    assert shortened(passage(1, text), 1000).text == text
    assert EXCERPT in shortened(passage(1, text), 50).text


def test_a_search_takes_no_more_than_a_quarter_of_the_window_and_the_source_is_whole() -> None:
    class Shelf:
        def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
            return [passage(number) for number in range(top_k)]

    heard: list[str] = []

    def script(messages: Any) -> Any:
        heard.extend(str(message["content"]) for message in messages if message["role"] == "tool")
        if not heard and "Search the collection" in str(messages):
            arguments = '{"query": "it"}'
            return [{"id": "c", "type": "function", "function": {"name": "search_passages", "arguments": arguments}}]
        return "It is so [1]."

    model = ScriptedModel(script)
    runner = CrewRunner(lambda *_: model, Shelf())
    answer = runner.run(JobInput(crew="research", inputs={"topic": "it", "language": "en"}), Unjournaled())
    window = model.get_context_window_size() * 4  # characters
    fences = len(fenced("it", [passage(number, "").model_copy(update={"excerpt": ""}) for number in range(5)]))
    assert window / 8 < len(heard[0]) - fences <= window / 4
    assert answer.sources[0].text == LONG
