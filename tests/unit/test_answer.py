"""Answers as they are stored and shown: what earlier releases left out has a value, and readers may rely on it."""

import pytest

from crewrelay.jobs.records.answer import Answer, ModelUsage, Passage, Source, Usage

PASSAGE = {"id": "a#1", "title": "A title", "url": "a.html", "text": "A text.", "excerpt": "A text."}
SOURCE = {"number": 1, "id": "a#1", "title": "A title", "url": "a.html", "text": "A text."}


def test_a_passage_that_was_shown_to_no_agent_has_no_number() -> None:
    passage = Passage.model_validate(PASSAGE)
    assert (passage.score, passage.similarity, passage.number) == (0.0, None, 0)


def test_a_source_of_an_earlier_release_has_no_excerpt() -> None:
    assert Source.model_validate(SOURCE).excerpt == ""


def test_the_usage_of_a_model_that_counts_nothing_is_zero_at_an_unknown_cost() -> None:
    nothing = {"model": "scripted/one", "calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost_usd": None}
    assert ModelUsage(model="scripted/one").model_dump() == nothing
    assert Usage(model="scripted/one").model_dump() == {**nothing, "by_model": ()}


def test_an_answer_of_a_crew_that_searched_for_nothing_cites_nothing() -> None:
    answer = Answer(text="an answer", usage=Usage(model="scripted/one"))
    assert (answer.sources, answer.answerable, answer.unknown_citations) == ((), None, ())


@pytest.mark.parametrize("model", [ModelUsage, Usage])
def test_the_published_schema_says_that_every_figure_of_a_usage_is_there(model: type[ModelUsage]) -> None:
    schema = model.model_json_schema(mode="serialization")
    assert schema["required"] == [*schema["properties"]]
