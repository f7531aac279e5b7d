"""What two runs under one journal asked differently, where it comes from, and how to mend it."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from crewrelay.crews.projects.rehearsal import Asked, Rehearsed
from crewrelay.jobs.records.journal import Kind

_WORD = re.compile(r"[\w:.+-]+|\W")
_SHOWN = 60  # characters
_LONGEST_COMPARED = 20_000  # characters

_STEP = "take it by crewrelay.step, or from an input"
_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}:\d\d|\d{10,}(\.\d+)?")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{12,}", re.IGNORECASE)
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}", re.IGNORECASE)
_NUMBER = re.compile(r"[\d.+-]+")


class Difference(NamedTuple):
    """Of the first run's call number `number`, from 1. `again` is how many calls may be paid again because of it."""

    number: int
    what: str
    first: str
    second: str
    cause: str
    remedy: str
    again: int


def differences(first: Rehearsed, second: Rehearsed, today: date) -> list[Difference]:
    """Calls of the first run that the second did not make, and models' prompts that will be others tomorrow."""
    # What a call has asked within itself is not asked again where the call is replayed.
    whole = [one for one in first.asked if not one.request.get("within")]
    calls = [one for one in whole if one.kind is Kind.MODEL or "step" not in one.request]
    made = {one.key for one in second.asked}
    known = {one.key for one in first.asked}
    others = [one for one in second.asked if one.key not in known]
    found = []
    for number, one in enumerate(calls, 1):
        again = sum(other.kind is Kind.MODEL for other in calls[number - 1 :])
        if one.key not in made:
            other = next((other for other in others if other.kind is one.kind), None)
            if other is not None:
                others.remove(other)
            found.append(_difference(number, one, other, again))
        elif one.kind is Kind.MODEL and (shown := _todays_date(one, first, today)):
            found.append(Difference(number, _name(one), shown, "", "today's date", _STEP, again))
    return found


def _difference(number: int, one: Asked, other: Asked | None, again: int) -> Difference:
    if other is None:
        return Difference(number, _name(one), "", "", "the second run does not make this call", _STEP, again)
    for before, after in zip(_texts(one.request), _texts(other.request), strict=False):
        if before != after:
            was, now, context = _first_change(before, after)
            cause, remedy = _cause(was, now, before, after)
            return Difference(number, _name(one), f"{context}{was}", f"{context}{now}", cause, remedy, again)
    return Difference(number, _name(one), "", "", "the number of its messages or tools", _STEP, again)


def _first_change(before: str, after: str) -> tuple[str, str, str]:
    """What stands for each other, and what is before it."""
    one, two = (_WORD.findall(text[:_LONGEST_COMPARED]) for text in (before, after))
    start = next(
        (at for at, (left, right) in enumerate(zip(one, two, strict=False)) if left != right), min(len(one), len(two))
    )
    blocks = SequenceMatcher(None, one[start : start + 500], two[start : start + 500], autojunk=False).get_opcodes()
    _, i1, i2, j1, j2 = next((block for block in blocks if block[0] != "equal"), ("", 0, 0, 0, 0))
    context = "".join(one[:start])[-_SHOWN:]
    return _cut("".join(one[start + i1 : start + i2])), _cut("".join(two[start + j1 : start + j2])), context


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _cause(was: str, now: str, before: str, after: str) -> tuple[str, str]:
    if sorted(_WORD.findall(before)) == sorted(_WORD.findall(after)):
        return "the order of a set or of files", "sort it"
    for pattern, cause, remedy in (
        (_ADDRESS, "an address in memory", "write a text of your own instead of the object"),
        (_TIME, "the date or the time", _STEP),
        (_ID, "a random id", _STEP),
        (_NUMBER, "a random number", _STEP),
    ):
        if pattern.search(was) and pattern.search(now):
            return cause, remedy
    return "a value that is not the same in every run", _STEP


def _todays_date(one: Asked, run: Rehearsed, today: date) -> str | None:
    """Today's date in a prompt, if no journaled reply has it."""
    prompt, replies = "\n".join(_texts(one.request)), "\n".join(each.reply for each in run.asked)
    for shown in _ways_to_write(today):
        if shown in prompt and shown not in replies:
            return shown
    return None


def _ways_to_write(day: date) -> Iterator[str]:
    yield day.isoformat()
    for form in ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%B %d, %Y", "%d %B %Y", "%b %d, %Y", "%d %b %Y", "%Y/%m/%d"):
        yield day.strftime(form)
        yield day.strftime(form.replace("%d", str(day.day)))


def _name(one: Asked) -> str:
    if one.kind is not Kind.MODEL:
        return f"the tool {one.request.get('tool', one.request.get('query', ''))}"
    messages = one.request.get("messages")
    contents = [str(each.get("content")) for each in messages] if isinstance(messages, list) else [str(messages)]
    said = next(filter(None, contents), "")
    return f"the prompt “{_cut(' '.join(said.split()))}”"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name in sorted(value):
            yield from _texts(value[name])
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def told(found: Sequence[Difference]) -> Iterator[str]:
    """In lines of a terminal."""
    for one in found:
        shown = f": {one.first!r} and then {one.second!r}" if one.second else f": {one.first!r}" if one.first else ""
        yield f"call {one.number}, {one.what}, differs by {one.cause}{shown}"
        yield f"  after a crash, up to {one.again} model calls are paid again; {one.remedy}"
