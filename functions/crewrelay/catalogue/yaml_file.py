"""Reads YAML with line numbers, so that a fault is reported with file and line."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from crewrelay.plain_yaml import refusals

Where = tuple[str | int, ...]  # the keys and indexes that lead to a value

_REMEDIES = {
    "mapping values are not allowed": "put a text that holds a colon into quotes, or begin it with > on this line",
    "found character that cannot start any token": "indent with spaces, and put a text that begins with @ into quotes",
    "could not determine a constructor": "a text that begins with ! wants quotes",
}
_NAMES = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
_OTHER_REMEDY = "put texts that begin with {, [, *, &, ! or a quote into quotes, and see that all is indented alike"

# By pydantic's error types.
_WORDS = {
    "missing": "is missing; add it",
    "string_type": "must be a text; put it into quotes",
    "string_too_short": "must not be empty; write a text",
    "list_type": "must be a list; write [it], or each on a line of its own after -",
    "dict_type": "must be a mapping; write name: value, or {}",
    "model_type": "must be a mapping; write name: value, or {}",
    "int_type": "must be a whole number; write one without quotes",
    "bool_type": "must be true or false; write it without quotes",
}


class Fault(NamedTuple):
    """A fault with its place; `what` includes the remedy."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: (fault.path, fault.line))


class Faulty(Exception):
    def __init__(self, *faults: Fault) -> None:
        self.faults = in_order(faults)
        super().__init__("\n".join(map(str, self.faults)))


class YamlFile(NamedTuple):
    path: Path
    data: Any
    lines: dict[Where, int]

    def fault(self, where: Where, what: str) -> Fault:
        """A fault at the line of the value, or of its parent if there is none."""
        known = next(where[:length] for length in range(len(where), -1, -1) if where[:length] in self.lines)
        name = ".".join(map(str, where))
        return Fault(self.path, self.lines[known], f"{name}: {what}" if name else what)


def read(path: Path) -> YamlFile:
    """Raises Faulty if the file is missing or no YAML, or has an alias or a repeated key."""
    import yaml  # takes 20 ms, which a cold function's status or health check does not need

    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        gone = not isinstance(error, UnicodeDecodeError)
        reason = "missing; `crewrelay crews new` writes one to begin with" if gone else "no UTF-8; save it as UTF-8"
        raise Faulty(Fault(path, 1, f"the file is {reason}")) from None
    loader = None
    try:
        if refused := [Fault(path, line, what) for line, what in refusals(text)]:
            raise Faulty(*refused)
        loader = yaml.CSafeLoader(text)
        root = loader.get_single_node()
        lines: dict[Where, int] = {(): 1}
        if faults := [Fault(path, line, what) for line, what in _walk(root, (), lines)]:
            raise Faulty(*faults)
        return YamlFile(path, loader.construct_document(root) if root else None, lines)
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, error.problem or "not to be read"
        remedy = next((remedy for start, remedy in _REMEDIES.items() if problem.startswith(start)), _OTHER_REMEDY)
        raise Faulty(Fault(path, mark.line + 1 if mark else 1, f"{problem}; {remedy}")) from None
    except (yaml.YAMLError, ValueError) as error:  # such as an invalid date
        raise Faulty(Fault(path, 1, f"{error}; {_OTHER_REMEDY}")) from None
    finally:
        if loader:
            loader.dispose()


def _walk(node: Any, where: Where, lines: dict[Where, int]) -> Iterable[tuple[int, str]]:
    """Store the line of each value, or of its key, in `lines`; yield the faults of keys."""
    import yaml

    lines.setdefault(where, node.start_mark.line + 1 if node else 1)
    if isinstance(node, yaml.SequenceNode):
        for index, one in enumerate(node.value):
            yield from _walk(one, (*where, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line, name = key.start_mark.line + 1, (*where, str(key.value))
            if key.tag not in _NAMES:  # such as on, which is true, or 1
                yield line, f"a name must be a text; put it into quotes{_shown(key)}"
            elif name in lines:
                yield line, f"{'.'.join(map(str, name))}: stands on line {lines[name]} already; remove one of them"
            lines.setdefault(name, line)
            yield from _walk(value, name, lines)


def _shown(key: Any) -> str:
    return f', "{key.value}"' if isinstance(key.value, str) else ""


def faults_of(error: ValidationError, file: YamlFile, where: Where, unknown: Callable[[str], str]) -> list[Fault]:
    """Pydantic's errors as faults in the words of the file. `unknown` gives the message for an unknown option."""
    return [
        file.fault((*where, *_known(item["loc"], file, where)), _what(dict(item), unknown))
        for item in error.errors(include_url=False)
    ]


def _known(location: Where, file: YamlFile, where: Where) -> Where:
    """The location without what pydantic adds to it: which member of a union it tried."""
    kept: Where = ()
    for part in location:
        if (*where, *kept, part) in file.lines or part == location[-1]:
            kept = (*kept, part)
    return kept


def _what(item: dict[str, Any], unknown: Callable[[str], str]) -> str:
    if item["type"] == "extra_forbidden":
        return unknown(str(item["loc"][-1]))
    if item["type"] == "literal_error":
        return f"must be {item['ctx']['expected']}; correct it"
    message = item["msg"].removeprefix("Value error, ")
    return _WORDS.get(item["type"], f"{message[:1].lower()}{message[1:]}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name."""
    names = sorted(known)
    close = get_close_matches(name, names, 1)
    if close:
        return f'use "{close[0]}"'
    return f"use one of {', '.join(names)}" if names else "remove it"
