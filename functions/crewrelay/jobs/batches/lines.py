"""The lines of a file that is read in ranges: no more than a range and a line are in memory."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

LONGEST_LINE = 256 * 1024  # bytes
_RANGE = 1024 * 1024  # bytes
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    number: int  # from 1
    text: bytes | None  # without its end; None if it is too long
    end: int  # offset of the next line


def lines(read: Callable[[int, int], bytes], size: int, offset: int = 0, before: int = 0) -> Iterator[Line]:
    """From an offset on, `before` which there are so many lines. `read` takes an offset and a length."""
    rest, start, number, position = b"", offset, before, offset
    while position < size:
        data = read(position, min(_RANGE, size - position))
        position += len(data)
        *whole, rest = (rest + data).split(b"\n")
        for text in whole:
            number += 1
            start += len(text) + 1
            yield _line(number, text, start)
        if len(rest) > LONGEST_LINE and position < size:
            start += len(rest)
            position, skipped = _end_of_line(read, size, position)
            number += 1
            start += skipped
            rest = b""
            yield Line(number, None, start)
    if rest:
        yield _line(number + 1, rest, size)


def _end_of_line(read: Callable[[int, int], bytes], size: int, position: int) -> tuple[int, int]:
    """The offset after the line that goes on at `position`, and how many bytes of it that were."""
    first = position
    while position < size:
        data = read(position, min(_RANGE, size - position))
        found = data.find(b"\n")
        if found >= 0:
            return position + found + 1, position + found + 1 - first
        position += len(data)
    return position, position - first


def _line(number: int, text: bytes, end: int) -> Line:
    if number == 1:
        text = text.removeprefix(_BOM)
    return Line(number, text if len(text) <= LONGEST_LINE else None, end)
