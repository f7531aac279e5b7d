"""Lines of a file that is read in ranges."""

import random

import pytest

from crewrelay.jobs.batches.lines import LONGEST_LINE, Line, lines


def read(data: bytes, offset: int = 0, before: int = 0) -> list[Line]:
    return list(lines(lambda start, length: data[start : start + length], len(data), offset, before))


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_each_line_with_its_number_and_where_the_next_begins(end: bytes) -> None:
    data = b"\xef\xbb\xbfone\r\n\n\xef\xbb\xbftwo" + end
    assert read(data) == [Line(1, b"one\r", 8), Line(2, b"", 9), Line(3, b"\xef\xbb\xbftwo", len(data))]
    assert read(b"") == []


@pytest.mark.parametrize("length", [LONGEST_LINE - 1, LONGEST_LINE, LONGEST_LINE + 1, 1_048_576, 3_500_000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\nnext", b"\nnext\n"])
def test_a_line_that_is_too_long_is_one_line(length: int, end: bytes) -> None:
    data = b"first\n" + b"x" * length + end
    found = read(data)
    assert found[0] == Line(1, b"first", 6)
    assert found[1] == Line(2, b"x" * length if length <= LONGEST_LINE else None, 6 + length + (end != b""))
    assert found[2:] == ([Line(3, b"next", len(data))] if len(end) > 1 else [])


def test_from_the_end_of_any_line_it_goes_on_as_if_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewrelay.jobs.batches.lines._RANGE", 17)
    monkeypatch.setattr("crewrelay.jobs.batches.lines.LONGEST_LINE", 40)
    for seed in range(300):
        chance = random.Random(seed)
        data = b"\n".join(b"y" * chance.choice((0, 1, 5, 16, 17, 39, 40, 41, 90)) for _ in range(chance.randrange(9)))
        whole = read(data)
        texts = data.split(b"\n")
        if not texts[-1]:
            texts.pop()
        assert [line.text for line in whole] == [text if len(text) <= 40 else None for text in texts], seed
        for number, line in enumerate(whole, 1):
            assert read(data, line.end, number) == whole[number:], seed


def test_no_more_than_a_range_and_a_line_is_in_memory() -> None:
    """Of a line without an end, too."""
    asked: list[int] = []

    def zeros(start: int, length: int) -> bytes:
        asked.append(length)
        return bytes(length)

    assert list(lines(zeros, 100_000_000)) == [Line(1, None, 100_000_000)]
    assert max(asked) <= 1024 * 1024
