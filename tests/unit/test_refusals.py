"""A crew that finds no answer says so, in the asked language, and cites nothing; the result says it too."""

from datetime import timedelta
from typing import Any

import pytest

from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.answer import Answer, Passage
from crewrelay.jobs.records.job import JobInput
from crewrelay.testing import Unjournaled
from tests.support.doubles.crew import ScriptedModel

SOURCE = Passage(id="p1", title="Rain", url="https://example.org/1", text="Rain falls.", excerpt="Rain falls.")


class Shelf:
    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        return [SOURCE]


def answered(reply: str, language: str = "en", searches: bool = True) -> Answer:
    """What the research crew gives when its writer's model replies so."""

    def script(messages: Any) -> Any:
        heard = [message for message in messages if message["role"] == "tool"]
        if searches and not heard and "Search the collection" in str(messages):
            arguments = '{"query": "rain"}'
            return [{"id": "c", "type": "function", "function": {"name": "search_passages", "arguments": arguments}}]
        return reply

    runner = CrewRunner(lambda *_: ScriptedModel(script), Shelf())
    return runner.run(JobInput(crew="research", inputs={"topic": "rain", "language": language}), Unjournaled())


def test_an_answer_that_cites_a_passage_is_answerable() -> None:
    answer = answered("Rain falls [1].")
    assert (answer.text, answer.answerable, len(answer.sources)) == ("Rain falls [1].", True, 1)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("NOT ANSWERABLE\nLas fuentes no lo dicen.", "Las fuentes no lo dicen."),
        ("**NOT ANSWERABLE**\n\nLas fuentes no lo dicen.", "Las fuentes no lo dicen."),
        ("NOT_ANSWERABLE: Las fuentes no lo dicen.", "Las fuentes no lo dicen."),
        ("  NOT ANSWERABLE. Ni [1] ni [2] lo dicen.", "Ni ni lo dicen."),
        ("NOT ANSWERABLE", "Las fuentes no responden a esto."),
    ],
)
def test_a_crew_that_declines_cites_nothing(reply: str, text: str) -> None:
    answer = answered(reply, "es-MX")
    assert (answer.text, answer.answerable, answer.sources, answer.unknown_citations) == (text, False, (), ())


def test_an_answer_that_no_passage_supports_is_not_answerable() -> None:
    answer = answered("I know: rain is wet [7].")
    assert (answer.text, answer.answerable, answer.unknown_citations) == ("I know: rain is wet.", False, (7,))


def test_the_words_in_a_sentence_decline_nothing() -> None:
    assert answered("That is NOT ANSWERABLE by rain [1].").answerable is True
    assert answered("NOT ANSWERABLEish rain [1].").answerable is True


def test_a_crew_that_searches_nothing_is_not_judged() -> None:
    assert answered("Rain is wet.", searches=False).answerable is None
