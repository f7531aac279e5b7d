"""The one schema of what a caller may ask for."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from crewrelay.catalogue.request import LONGEST_TOPIC, CrewRequest, TopicRequest, complaints, parse
from tests.support.crews import OwnCrews

GOOD: dict[str, Any] = {"topic": "neural networks", "language": "en"}


def parsed(**changes: Any) -> TopicRequest:
    request = parse(json.dumps(GOOD | changes))
    assert isinstance(request, TopicRequest)
    return request


def refusal(body: str) -> list[dict[str, str]]:
    with pytest.raises(ValidationError) as caught:
        parse(body)
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
        TopicRequest(topic="a\ud800b", language="en")


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


# ---- a crew and its inputs


def named(crew: Any, inputs: Any, **more: Any) -> str:
    return json.dumps({"crew": crew, "inputs": inputs, **more})


def test_both_forms_are_the_same_input() -> None:
    request = parse(named("research", {"language": "en", "topic": " neural networks "}))
    assert isinstance(request, CrewRequest)
    assert request.job_input() == parsed().job_input()
    assert request.job_input().digest() == parsed().job_input().digest()


def test_every_fault_of_the_inputs_is_named_at_once() -> None:
    found = refusal(named("research", {"topic": "a\nb", "language": "english", "tone": "formal"}))
    assert [complaint["field"] for complaint in found] == ["inputs.topic", "inputs.language", "inputs.tone"]
    assert "control characters" in found[0]["message"]


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (named("research", {"topic": "a"}), "inputs.language", "Field required"),
        (named("nobody", {"topic": "a"}), "crew", "must name a crew of this deployment: research"),
        ('{"crew": "research"}', "inputs", "Field required"),
        ('{"inputs": {"topic": "a"}}', "crew", "Field required"),
        (named("research", "a"), "inputs", "should be an object"),
        (named("research", GOOD, topic="a"), "topic", "send topic and language, or crew and inputs"),
        (named("research", GOOD, language="en"), "language", "send topic and language, or crew and inputs"),
        (named("research", GOOD, colour="red"), "colour", "not permitted"),
    ],
)
def test_what_is_wrong_with_a_crew_and_its_inputs_is_said_of_the_field(body: str, field: str, message: str) -> None:
    (complaint,) = refusal(body)
    assert complaint["field"] == field
    assert message in complaint["message"]


def test_the_short_form_is_for_crews_with_a_topic_and_a_language(own_crews: OwnCrews) -> None:
    own_crews.write("shout", inputs="text: {}", text="Shout {text}.")
    (complaint,) = refusal(json.dumps(GOOD | {"crew": "shout"}))
    assert complaint["field"] == "crew"
    assert complaint["message"] == "has other inputs, text: send them as inputs, beside crew"
    own_crews.write("brief", inputs="{topic: {max_length: 3}, language: {type: language}}", text="{topic} {language}")
    assert refused_fields(crew="brief") == ["topic"]
    assert parsed(crew="brief", topic="ant").job_input().inputs == {"topic": "ant", "language": "en"}
