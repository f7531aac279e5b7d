"""Reads a file of topics: CSV, JSON Lines or a topic per line. Nothing is submitted unless every line can be read."""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crewrelay.cli.api.client import Json
from crewrelay.cli.terminal import fail

MOST_ITEMS, MOST_BYTES = 1000, 3_500_000  # of a request
_LARGEST = 256 * 1024  # bytes of an item
_FIELDS = ("topic", "language", "crew", "collection", "custom_id")  # of a request; other columns are a crew's inputs
_MOST_NAMED = 5  # faults


class Line(NamedTuple):
    """`number` is the line in the file, from 1; `item` is what is sent."""

    number: int
    item: Json

    @property
    def custom_id(self) -> str:
        return str(self.item["custom_id"])


class Unreadable(Exception):
    """What is wrong with a line."""


def read(path: Path, language: str, crew: str) -> list[Line]:
    """Its lines in order, each with a custom_id that no other has. Ends the command if one is wrong."""
    reader = {".csv": _csv, ".jsonl": _json_lines, ".txt": _topics}.get(path.suffix.lower())
    if reader is None:
        fail(f"{path}: its name must end with .csv, .jsonl or .txt")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        fail(f"can't read {path}: {error.strerror or error}")
    except UnicodeDecodeError as error:
        fail(f"{path} is not in UTF-8: byte {error.start + 1:,} is wrong")
    lines, faults = list[Line](), list[str]()
    taken: dict[str, int] = {}
    try:
        for number, found in reader(text):
            try:
                line = Line(number, _item(found, number, language, crew))
                other = taken.setdefault(line.custom_id, number)
                if other != number:
                    raise Unreadable(f"its custom_id {line.custom_id!r} is that of line {other}")
                lines.append(line)
            except Unreadable as fault:
                faults.append(f"line {number}: {fault}")
    except (Unreadable, csv.Error) as fault:
        faults.append(str(fault))
    if faults:
        more = [f"and {len(faults) - _MOST_NAMED:,} more"] if len(faults) > _MOST_NAMED else []
        fail("\n  ".join([f"{path} can't be submitted; nothing was:", *faults[:_MOST_NAMED], *more]))
    return lines or fail(f"{path} has no topics")


def chunks(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines in requests: each has at most 1,000, and fits in 4 MB."""
    found, size = list[list[Line]](), 0
    for line in lines:
        length = len(json.dumps(line.item)) + 2
        if not found or len(found[-1]) == MOST_ITEMS or size + length > MOST_BYTES:
            found.append([])
            size = 0
        found[-1].append(line)
        size += length
    return found


def key_of(chunk: Sequence[Line], salt: str) -> str:
    """The idempotency key of a request: the same lines have the same one, wherever and whenever they are sent."""
    sent = json.dumps([salt, [line.item for line in chunk]], sort_keys=True)
    return f"crewrelay-batch-{hashlib.sha256(sent.encode()).hexdigest()[:40]}"


def _item(found: Any, number: int, language: str, crew: str) -> Json:
    if not isinstance(found, dict):
        raise Unreadable("it must be a JSON object")
    item = {"custom_id": str(number)} | found
    if crew and "crew" not in item:
        item["crew"] = crew
    if "topic" in item:
        item.setdefault("language", language)
    if not isinstance(item["custom_id"], str):
        raise Unreadable("custom_id must be text")
    if len(json.dumps(item)) > _LARGEST:
        raise Unreadable(f"it has more than {_LARGEST:,} bytes")
    return item


def _topics(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, {"topic": line.strip()}


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"line {number}: it is not valid JSON: {error}") from None


def _csv(text: str) -> Iterator[tuple[int, Any]]:
    """The first row names the columns. With columns that are no fields of a request, the crew's inputs are all but
    `crew`, `collection` and `custom_id`. An empty cell counts as left out.
    """
    rows = csv.reader(text.splitlines(keepends=True), strict=True)
    names = [name.strip() for name in next(rows, [])]
    if not names or len(set(names)) != len(names) or "" in names:
        raise Unreadable("line 1: it must name the columns, each by another name, such as topic,language")
    inputs = [name for name in names if name not in _FIELDS]
    if not inputs and "topic" not in names:
        raise Unreadable("line 1: no column is called topic")
    number = rows.line_num + 1
    for row in rows:
        if row:
            if len(row) != len(names):
                raise Unreadable(f"line {number}: it has {len(row)} cells, and the first line {len(names)}")
            yield number, _of_cells(dict(zip(names, row, strict=True)), bool(inputs))
        number = rows.line_num + 1


def _of_cells(cells: dict[str, str], with_inputs: bool) -> Json:
    filled = {name: value for name, value in cells.items() if value}
    if not with_inputs:
        return filled
    own = {name: filled[name] for name in ("crew", "collection", "custom_id") if name in filled}
    return own | {"inputs": {name: value for name, value in filled.items() if name not in own}}
