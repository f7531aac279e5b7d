"""The error tree is as its page says, and public codes are what clients were told."""

import re

from crewrelay.jobs import errors
from crewrelay.jobs.errors import CrewrelayError

_LINE = re.compile(r"([│├└─ ]*)(\w+) +(\d{3})  \S")


def tree() -> dict[str, tuple[str, int]]:
    """Of each error in the docstring its parent and its status."""
    assert errors.__doc__
    found: dict[str, tuple[str, int]] = {}
    last_outer = ""
    for line in errors.__doc__.splitlines():
        if match := _LINE.match(line):
            depth = len(match[1]) // 4
            found[match[2]] = ("CrewrelayError" if depth == 1 else last_outer, int(match[3]))
            last_outer = match[2] if depth == 1 else last_outer
    return found


def classes(root: type[CrewrelayError] = CrewrelayError) -> list[type[CrewrelayError]]:
    own = [each for each in root.__subclasses__() if each.__module__ == errors.__name__]
    return own + [below for each in own for below in classes(each)]


def test_the_tree_is_as_its_docstring_says() -> None:
    assert {each.__name__: (each.__base__.__name__, each.http) for each in classes() if each.__base__} == tree()
    assert CrewrelayError.http == 500


def test_an_error_has_a_code_of_its_own_made_of_its_name() -> None:
    codes = {each.__name__: each.code for each in classes()}
    assert codes.pop("RetrievalError") == "retrieval_failed"
    assert CrewrelayError.code == "internal_error"
    assert codes == {name: re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in codes}


def test_what_is_refused_for_the_moment_may_succeed_later_and_nothing_else() -> None:
    assert CrewrelayError.retryable is False
    assert {each for each in classes() if each.retryable} == {each for each in classes() if each.http in (429, 503)}
