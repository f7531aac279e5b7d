"""`crewrelay crews check` of a project: what two runs ask differently, where it comes from, and how to mend it."""

import json
from datetime import date
from typing import Any

import pytest

from crewrelay.crews.journal.embedding import decoded
from crewrelay.crews.projects.divergence import differences, told
from crewrelay.crews.projects.model_double import answer_to, instance_of
from crewrelay.crews.projects.rehearsal import Asked, Rehearsed, RehearsedCalls
from crewrelay.jobs.records.journal import Kind, Reply

TODAY = date(2026, 3, 5)


def asked(text: str, *, reply: str = "", kind: Kind = Kind.MODEL) -> Asked:
    return Asked(key=text, kind=kind, request={"messages": [{"role": "user", "content": text}]}, reply=reply)


@pytest.mark.parametrize(
    ("first", "second", "cause", "remedy"),
    [
        ("It is 2026-03-05T10:11:12", "It is 2026-03-05T10:11:13", "the date or the time", "crewrelay.step"),
        ("Begun at 1772705472.1 s", "Begun at 1772705473.9 s", "the date or the time", "crewrelay.step"),
        (
            "Job 0b9c1a52-8a4e-4c1e-9a3f-1d2e3f405162.",
            "Job 7f9c1a52-8a4e-4c1e-9a3f-1d2e3f405163.",
            "a random id",
            "crewrelay.step",
        ),
        ("Of a, b and c", "Of c, b and a", "the order of a set or of files", "sort it"),
        ("Use <f at 0x7f12aa34bb50>", "Use <f at 0x7f12aa34bc60>", "an address in memory", "a text of your own"),
        ("Roll 3 of 6", "Roll 5 of 6", "a random number", "crewrelay.step"),
        ("Say yes", "Say no", "a value that is not the same in every run", "crewrelay.step"),
    ],
)
def test_a_difference_is_told_with_its_cause_and_remedy(first: str, second: str, cause: str, remedy: str) -> None:
    same = asked("the same")
    (found,) = differences(
        Rehearsed(asked=[same, asked(first), asked("last")]),
        Rehearsed(asked=[same, asked(second), asked("last")]),
        TODAY,
    )
    assert (found.number, found.cause, found.again) == (2, cause, 2)
    assert remedy in found.remedy
    assert found.first != found.second
    line, then = told([found])
    assert f"call 2, the prompt “{first}”, differs by {cause}" in line
    assert "up to 2 model calls are paid again" in then


def test_todays_date_is_told_unless_a_step_or_an_input_journaled_it() -> None:
    for shown in ("2026-03-05", "March 5, 2026", "05.03.2026"):
        run = Rehearsed(asked=[asked(f"It is {shown}.")])
        (found,) = differences(run, run, TODAY)
        assert (found.cause, found.first) == ("today's date", shown)
        step = Asked(key="s", kind=Kind.TOOL, request={"step": "today"}, reply=json.dumps(shown))
        assert differences(Rehearsed(asked=[step, *run.asked]), Rehearsed(asked=[step, *run.asked]), TODAY) == []
    assert differences(Rehearsed(asked=[asked("It is 2026.")]), Rehearsed(asked=[asked("It is 2026.")]), TODAY) == []


def test_a_call_that_is_not_made_again_is_told() -> None:
    (found,) = differences(Rehearsed(asked=[asked("a")]), Rehearsed(), TODAY)
    assert found.cause == "the second run does not make this call"


def test_what_a_call_has_asked_within_itself_is_not_told_as_missing() -> None:
    outer = Asked(key="o", kind=Kind.TOOL, request={"tool": "memory"}, reply="1")
    inner = Asked(key="i", kind=Kind.MODEL, request={"messages": "a", "within": outer.request}, reply="1")
    assert differences(Rehearsed(asked=[inner, outer]), Rehearsed(asked=[outer]), TODAY) == []
    (found,) = differences(Rehearsed(asked=[inner, outer]), Rehearsed(), TODAY)
    assert found.what == "the tool memory"


def test_the_double_embeds() -> None:
    def never() -> Reply:
        raise AssertionError

    calls = RehearsedCalls()
    body = calls.call(Kind.RETRIEVAL, {"embed": ["a cab", "zz"]}, never).body
    assert [(vector[0], vector[25]) for vector in decoded(body)] == [(2, 0), (0, 2)]
    assert calls.call(Kind.RETRIEVAL, {"knowledge": "crew", "query": "a"}, never).body == "[]"


def test_the_second_run_is_answered_from_the_journal_and_the_models_by_a_double() -> None:
    paid = []

    def pay() -> Reply:
        paid.append(1)
        return Reply(body="1")

    first = RehearsedCalls()
    first.call(Kind.MODEL, {"messages": "a"}, pay)
    for _ in range(2):
        first.call(Kind.TOOL, {"tool": "a"}, pay)
    assert len(paid) == 2
    second = RehearsedCalls(first.rehearsed)
    assert second.call(Kind.TOOL, {"tool": "a"}, pay).body == "1"
    assert len(paid) == 2
    assert second.rehearsed.asked == first.rehearsed.asked[1:2]


def test_the_double_answers_in_the_shape_that_is_asked_for() -> None:
    schema = {
        "type": "object",
        "properties": {
            "valid": {"type": "boolean"},
            "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "plans": {"type": "array", "items": {"$ref": "#/$defs/Plan"}, "minItems": 2},
            "left": {"type": "string"},
        },
        "required": ["valid", "note", "plans"],
        "$defs": {
            "Plan": {
                "type": "object",
                "properties": {"n": {"type": "integer", "minimum": 3}, "k": {"enum": ["x"]}},
                "required": ["n", "k"],
            }
        },
    }
    made = {"valid": True, "note": "An answer of the model's double.", "plans": [{"n": 3, "k": "x"}] * 2}
    assert instance_of(schema) == answer_to({"response": schema}) == made
    for wrapped in (schema, {"type": "json_schema", "json_schema": {"name": "A", "schema": schema}}):
        text = f"Brace {{ here. Format by {json.dumps(wrapped)} only."
        assert json.loads(answer_to({"messages": [{"content": text}]})) == made
    assert "Final Answer:" in answer_to({"messages": [{"content": "Action Input: {}"}]})
    optional = {"type": "object", "properties": {"memories": {"type": "array", "items": {"type": "string"}}}}
    assert instance_of(optional) == {"memories": ["An answer of the model's double."]}
    endless: dict[str, Any] = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert instance_of(endless) is None
