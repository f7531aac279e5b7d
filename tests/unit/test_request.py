"""The one schema of what a caller may ask for."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from crewrelay.request import LONGEST_TOPIC, RunRequest, complaints

GOOD: dict[str, Any] = {"topic": "neural networks", "language": "en"}


def parsed(**changes: Any) -> RunRequest:
    return RunRequest.model_validate_json(json.dumps(GOOD | changes))


def refusal(body: str) -> list[dict[str, str]]:
    with pytest.raises(ValidationError) as caught:
        RunRequest.model_validate_json(body)
    return complaints(caught.value)


def refused_fields(**changes: Any) -> list[str]:
    return [complaint["field"] for complaint in refusal(json.dumps(GOOD | changes))]


def test_a_request_becomes_the_input_of_the_research_crew() -> None:
    job_input = parsed().job_input()
    assert job_input.crew == "research"
    assert job_input.inputs == GOOD


@pytest.mark.parametrize(
    "topic", ["a", "x" * LONGEST_TOPIC, "漢" * LONGEST_TOPIC, "🌍 e\u0301", 'quotes " and {braces} [1]']
)
def test_a_topic_is_any_text_up_to_2000_characters(topic: str) -> None:
    assert LONGEST_TOPIC == 2000
    assert parsed(topic=topic).topic == topic


@pytest.mark.parametrize("topic", ["  neural networks  ", "\tneural networks\n", "\u00a0neural networks\u3000"])
def test_white_space_around_a_topic_is_trimmed(topic: str) -> None:
    assert parsed(topic=topic).topic == "neural networks"


@pytest.mark.parametrize(
    "topic",
    [
        "", " ", "\n\t ", "\u3000", "x" * 2001, "a\x00b", "a\nb", "a\rb", "a\x1bb", "a\x7fb", "a\x85b", "\x00",
        5, None, True, ["a"],
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_topic_is_refused(topic: Any) -> None:
    assert refused_fields(topic=topic) == ["topic"]


def test_half_a_surrogate_pair_is_refused() -> None:
    refusal('{"topic": "a\\ud800b", "language": "en"}')
    with pytest.raises(ValidationError):
        RunRequest(topic="a\ud800b", language="en")


@pytest.mark.parametrize(
    "language", ["en", "EN", "de", "es", "pt-BR", "pt-br", "zh-Hant-TW", "es-419", "sr-Latn", "fil"]
)
def test_bcp_47_tags_are_languages(language: str) -> None:
    assert parsed(language=language).language == language


@pytest.mark.parametrize(
    "language",
    [
        "english", "xx", "e", "en_US", "", " ", "en-", "-en", "en--US", "en US", "en\n", "e\x00n", "ｅｎ", "en-ÜS",
        "deutsch", "*", "en-" + "a" * 33, "x" * 36, "en;q=1", "../en", 5, None, ["en"], {"en": 1},
    ],
    ids=repr,
)  # fmt: skip
def test_anything_else_is_no_language(language: Any) -> None:
    assert refused_fields(language=language) == ["language"]


@pytest.mark.parametrize("crew", ["", "other", "Research", "../research", "research/", 5, None])
def test_an_unknown_crew_is_refused(crew: Any) -> None:
    assert refused_fields(crew=crew) == ["crew"]


@pytest.mark.parametrize("field", ["Topic", "model", "__class__", ""])
def test_an_unknown_field_is_refused(field: str) -> None:
    assert refused_fields(**{field: "x"}) == [field]


@pytest.mark.parametrize("missing", ["topic", "language"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = {name: value for name, value in GOOD.items() if name != missing}
    assert [complaint["field"] for complaint in refusal(json.dumps(body))] == [missing]


@pytest.mark.parametrize(
    "body", ["", "{", "null", "[]", '"text"', "5", "{'topic': 'a'}", '{"topic": "a", "language": NaN}']
)
def test_what_is_no_json_object_is_refused(body: str) -> None:
    assert refusal(body)


def test_every_fault_is_named_at_once_and_no_value_repeated() -> None:
    found = refusal(json.dumps({"topic": "secret\x00", "language": "klingonese", "extra": "hidden"}))
    assert {complaint["field"] for complaint in found} == {"topic", "language", "extra"}
    told = json.dumps(found)
    assert not any(value in told for value in ("secret", "klingonese", "hidden"))
    assert not any(complaint["message"].startswith("Value error") for complaint in found)
