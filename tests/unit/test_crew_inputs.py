"""A crew's inputs: what may be declared, what is taken, and what is told of them."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from crewrelay.catalogue.inputs import Input, Inputs, filled_in
from crewrelay.catalogue.request import complaints

ALL: dict[str, dict[str, Any]] = {
    "topic": {"max_length": 10, "description": "What of"},
    "tone": {"enum": ["dry", "warm"], "default": "dry"},
    "language": {"type": "language", "default": "en"},
    "pages": {"type": "integer", "minimum": 1, "maximum": 9, "example": 2},
    "draft": {"type": "boolean", "default": False},
    "note": {"default": ""},
}


def inputs(**declared: dict[str, Any]) -> Inputs:
    return Inputs({name: Input.model_validate(one) for name, one in declared.items()})


def test_what_is_left_out_has_its_default_and_texts_are_trimmed() -> None:
    assert inputs(**ALL).check({"topic": " ants ", "pages": 3}) == {
        "topic": "ants",
        "tone": "dry",
        "language": "en",
        "pages": 3,
        "draft": False,
        "note": "",
    }


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "topic"),
        ({"topic": "x" * 11}, "topic"),
        ({"topic": ""}, "topic"),
        ({"topic": " \t"}, "topic"),
        ({"topic": "a\x00"}, "topic"),
        ({"topic": "a\nb"}, "topic"),
        ({"topic": "a\ud800"}, "topic"),
        ({"topic": 5}, "topic"),
        ({"topic": None}, "topic"),
        ({"topic": ["a"]}, "topic"),
        ({"tone": "cold"}, "tone"),
        ({"tone": None}, "tone"),
        ({"language": "english"}, "language"),
        ({"pages": 0}, "pages"),
        ({"pages": 10}, "pages"),
        ({"pages": "3"}, "pages"),
        ({"pages": 3.0}, "pages"),
        ({"pages": True}, "pages"),
        ({"draft": "yes"}, "draft"),
        ({"draft": 1}, "draft"),
        ({"note": "a\nb"}, "note"),
        ({"input_0": "a"}, "input_0"),
        ({"__class__": "a"}, "__class__"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        inputs(**ALL).check({"topic": "ants", "pages": 3, **given} if given else {"pages": 3})
    assert [complaint["field"] for complaint in complaints(caught.value)] == [field]


def test_an_empty_text_is_one_where_it_is_the_default() -> None:
    assert inputs(**ALL).check({"topic": "ants", "pages": 3, "note": ""})["note"] == ""


@pytest.mark.parametrize("name", ["model_config", "schema", "copy", "json", "_hidden", "class", "validate"])
def test_any_name_may_be_an_inputs(name: str) -> None:
    assert inputs(**{name: {}}).check({name: "a"}) == {name: "a"}


def test_the_json_schema_takes_what_the_check_takes() -> None:
    declared = inputs(**ALL)
    schema = Draft202012Validator(declared.json_schema())
    Draft202012Validator.check_schema(declared.json_schema())
    assert declared.json_schema()["required"] == ["topic", "pages"]
    assert declared.json_schema()["properties"]["topic"] == {
        "type": "string",
        "description": "What of",
        "minLength": 1,
        "maxLength": 10,
    }
    good = {"topic": "ants", "pages": 3}
    assert schema.is_valid(good)
    for bad in ({}, {"topic": "x" * 11}, {"pages": 0}, {"tone": "cold"}, {"draft": 1}, {"more": 1}, {"topic": ""}):
        assert not schema.is_valid(good | bad if bad else bad), bad


def test_the_sample_of_a_dry_run_is_one_that_the_crew_would_take() -> None:
    assert inputs(**ALL).sample() == {
        "topic": "topic",
        "tone": "dry",
        "language": "en",
        "pages": 2,
        "draft": False,
        "note": "",
    }
    bare: dict[str, dict[str, Any]] = {
        "a": {"max_length": 3},
        "b": {"type": "integer", "maximum": -2},
        "c": {"enum": ["x"]},
        "long_name": {},
    }
    assert inputs(**bare).sample() == {"a": "a", "b": -2, "c": "x", "long_name": "long_name"}
    assert inputs(number={"max_length": 3}).sample() == {"number": "num"}


@pytest.mark.parametrize(
    "declared",
    [
        {"type": "texts"},
        {"type": "integer", "enum": ["a"]},
        {"type": "integer", "max_length": 3},
        {"minimum": 1},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "integer", "default": "a"},
        {"type": "integer", "example": True},
        {"type": "boolean", "default": 0},
        {"default": 5},
        {"max_length": 0},
        {"enum": []},
        {"enum": [True]},
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Input.model_validate(declared)


# ---- filling in


GIVEN: dict[str, Any] = {"a": "{b}", "b": "{a}{c}", "c": "{{a}} {", "n": 3, "yes": True}


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]])
def test_what_a_caller_wrote_in_braces_stays_as_it_is(order: list[str]) -> None:
    text = " ".join(f"<{{{name}}}>" for name in order)
    assert filled_in(text, GIVEN) == " ".join(f"<{GIVEN[name]}>" for name in order)


def test_numbers_and_truth_are_written_as_in_json_and_other_braces_are_left_alone() -> None:
    assert filled_in('{n} {yes} {"key": {n}} {unknown} {}', GIVEN) == '3 true {"key": 3} {unknown} {}'
