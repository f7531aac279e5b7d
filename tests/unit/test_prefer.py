"""`Prefer` as https://www.rfc-editor.org/rfc/rfc7240 has it: what is asked for, and what is said of it."""

from datetime import timedelta

import pytest

from crewrelay.http.prefer import Preference, preference

LONGEST = timedelta(seconds=20)


def asked(*headers: str) -> Preference:
    return preference(headers, LONGEST)


@pytest.mark.parametrize(
    ("headers", "seconds", "respond_async", "wait"),
    [
        pytest.param([], 20, False, None, id="nothing"),
        pytest.param([""], 20, False, None, id="an empty header"),
        pytest.param([", ,;"], 20, False, None, id="nothing but delimiters"),
        pytest.param(["wait=5"], 5, False, 5, id="a wait"),
        pytest.param(["wait=0"], 0, False, 0, id="none at all"),
        pytest.param(["wait=007"], 7, False, 7, id="leading zeros"),
        pytest.param(['wait="5"'], 5, False, 5, id="quoted"),
        pytest.param(["wait = 5"], 5, False, 5, id="spaces around the equals sign"),
        pytest.param(["WAIT=5"], 5, False, 5, id="a name in capitals"),
        pytest.param(["\twait=5 "], 5, False, 5, id="white space around it"),
        pytest.param(["wait=20"], 20, False, 20, id="just the longest"),
        pytest.param(["wait=21"], 20, False, 20, id="longer than the longest"),
        pytest.param(["wait=9999999999"], 20, False, 20, id="three centuries"),
        pytest.param(["respond-async"], 0, True, None, id="an answer at once"),
        pytest.param(["Respond-Async"], 0, True, None, id="an answer at once, in capitals"),
        pytest.param(['respond-async=""'], 0, True, None, id="an empty value is no value"),
        pytest.param(["respond-async, wait=5"], 5, True, 5, id="an answer after a while"),
        pytest.param(["wait=5, respond-async"], 5, True, 5, id="the other way round"),
        pytest.param(["respond-async", "wait=5"], 5, True, 5, id="in two headers"),
        pytest.param(["respond-async,wait=100"], 20, True, 20, id="a long wait, and then an answer"),
        pytest.param(["wait=5, wait=9"], 5, False, 5, id="twice: the first counts"),
        pytest.param(["wait=5", "wait=9"], 5, False, 5, id="twice, in two headers"),
        pytest.param(["respond-async; x=1, wait=5; y"], 5, True, 5, id="with parameters"),
        pytest.param(["return=minimal, handling=lenient; wait=1"], 20, False, None, id="others, one with parameters"),
        pytest.param(["foo; wait=1; respond-async"], 20, False, None, id="only as parameters"),
        pytest.param(["wait"], 20, False, None, id="without a number"),
        pytest.param(["wait="], 20, False, None, id="with an empty one"),
        pytest.param(["wait=soon"], 20, False, None, id="a word"),
        pytest.param(["wait=-1"], 20, False, None, id="negative"),
        pytest.param(["wait=+5"], 20, False, None, id="with a sign"),
        pytest.param(["wait=2.5"], 20, False, None, id="a fraction"),
        pytest.param(["wait=5s"], 20, False, None, id="with a unit"),
        pytest.param(["wait=²"], 20, False, None, id="a digit of another kind"),
        pytest.param(["wait=" + "9" * 5000], 20, False, None, id="too long to be read"),
        pytest.param(["wait=5=6"], 20, False, None, id="two equals signs"),
        pytest.param(["await=5, wait-for=5, respond-asynchronously"], 20, False, None, id="names alike"),
        pytest.param(["respond-async, wait=soon"], 0, True, None, id="an answer at once, and a wrong wait"),
        pytest.param(["\x00, ☃=1, wait=3"], 3, False, 3, id="beside what can't be understood"),
    ],
)
def test_what_a_caller_prefers(headers: list[str], seconds: float, respond_async: bool, wait: int | None) -> None:
    assert asked(*headers) == Preference(timedelta(seconds=seconds), respond_async, wait)


def test_a_limit_of_fractions_is_kept_and_said_in_whole_seconds() -> None:
    wanted = preference(["wait=5"], timedelta(seconds=1.5))
    assert wanted == Preference(timedelta(seconds=1.5), False, 1)


@pytest.mark.parametrize(
    ("header", "answered", "accepted"),
    [
        ("", None, None),
        ("wait=soon, foo=bar", None, None),
        ("wait=5", "wait=5", "wait=5"),
        ("wait=0", "wait=0", "wait=0"),
        ("wait=600", "wait=20", "wait=20"),
        ("respond-async", None, "respond-async"),
        ("wait=5, respond-async", "wait=5", "respond-async, wait=5"),
    ],
)
def test_what_was_applied_is_said_and_nothing_else(header: str, answered: str | None, accepted: str | None) -> None:
    wanted = asked(header)
    said = [wanted.applied(answered=True), wanted.applied(answered=False)]
    assert said == [{"Preference-Applied": value} if value else {} for value in (answered, accepted)]
