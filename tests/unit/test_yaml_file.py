"""YAML that knows the line of everything in it."""

from pathlib import Path

import pytest

from crewrelay.catalogue import yaml_file
from crewrelay.catalogue.yaml_file import Faulty


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "some.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> list[str]:
    with pytest.raises(Faulty) as caught:
        yaml_file.read(path)
    assert all(fault.path == path for fault in caught.value.faults)
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]


def test_a_fault_is_at_the_line_of_its_value_or_of_what_it_would_stand_in(tmp_path: Path) -> None:
    file = yaml_file.read(written(tmp_path, "# a comment\none:\n  two: >\n    text\n  three:\n    - a\n    - b\n"))
    assert file.data == {"one": {"two": "text\n", "three": ["a", "b"]}}
    lines = {("one", "two"): 3, ("one", "three", 1): 7, ("one", "four"): 2, ("five",): 1}
    for where, line in lines.items():
        assert file.fault(where, "wrong").line == line
    assert str(file.fault(("one", "three", 1), "wrong; mend it")) == f"{file.path}:7: one.three.1: wrong; mend it"


def test_aliases_are_told_each_with_its_line_and_none_is_followed(tmp_path: Path) -> None:
    bomb = "l0: &l0 [a, a]\n" + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30))
    faults = refusal(written(tmp_path, bomb))
    assert len(faults) == 29 * 9
    assert faults[0] == "2: the alias *l0 is not followed; write out what it stands for"
    (merged,) = refusal(written(tmp_path, "one: &one {a: 1, b: 2}\ntwo:\n  <<: *one\n  b: 3\n"))
    assert merged == "3: the alias *one is not followed; write out what it stands for"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one: 1\ntwo: 2\none: 3\n", "3: one: stands on line 1 already; remove one of them"),
        ("one:\n  a: 1\n  a: 2\n", "3: one.a: stands on line 2 already; remove one of them"),
        ("one: {a} b\n", "1: did not find expected key; put texts that begin with {"),
        (
            "role: Chief: of staff\n",
            "1: mapping values are not allowed in this context; put a text that holds a colon into quotes",
        ),
        ("one:\n\ttwo: 1\n", "2: found character that cannot start any token; indent with spaces"),
        ("one: 'a\n", "2: found unexpected end of stream; put texts"),
        ("one: !two a\n", "1: could not determine a constructor for the tag '!two'; a text that begins with !"),
        ("one: 2026-02-31\n", "1: day is out of range for month; put texts"),
        ("one: *two\n", "1: the alias *two is not followed; write out what it stands for"),
        (b"one: \xff\n", "1: the file is no UTF-8; save it as UTF-8"),
        (b"one: \x00\n", "1: "),
        ("one: 1\non: 2\n", '2: a name must be a text; put it into quotes, "on"'),
        ("1: one\n", '1: a name must be a text; put it into quotes, "1"'),
        ("? [a, b]\n: 1\n", "1: a name must be a text; put it into quotes"),
        ("one: &one [*one]\n", "1: the alias *one is not followed; write out what it stands for"),
        ("[" * 200_000 + "]" * 200_000, "1: it is nested more than 100 deep; flatten it"),
    ],
)
def test_what_can_not_be_read_is_told_with_line_and_remedy(tmp_path: Path, text: str | bytes, told: str) -> None:
    (fault,) = refusal(written(tmp_path, text))
    assert fault.startswith(told)
    assert ";" in fault


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    (fault,) = refusal(tmp_path / "some.yaml")
    assert fault.startswith("1: the file is missing; ")


def test_every_key_that_stands_twice_is_told(tmp_path: Path) -> None:
    assert len(refusal(written(tmp_path, "a: 1\na: 2\na: 3\nb: 1\nb: 2\n"))) == 3


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert yaml_file.read(written(tmp_path, "# nothing\n")).data is None
