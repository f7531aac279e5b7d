"""Reads the files of a CrewAI project as data: TOML, YAML and JSON with comments; a fault has its file and line."""

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crewrelay.catalogue.yaml_file import Fault, Faulty

_SOURCES = (".py", ".yaml", ".yml", ".json", ".jsonc", ".toml", ".lock", ".md", ".txt")
_LEFT_OUT = re.compile(r"\..*|__pycache__|venv|node_modules|.*\.egg-info")
_TEXT_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TEXT_OR_COMMA = re.compile(r'"(?:\\.|[^"\\\n])*"|,(?=\s*[}\]])')


def read_toml(path: Path) -> dict[str, Any]:
    """Raises Faulty."""
    text = _text(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        told = re.search(r"line (\d+)", str(error))  # else it is at the end
        line = int(told[1]) if told else text.rstrip().count("\n") + 1
        raise Faulty(Fault(path, line, f"this is no TOML: {error}; correct it")) from None


def read_yaml(path: Path) -> Any:
    """Raises Faulty."""
    import yaml  # takes 20 ms

    try:
        return yaml.load(_text(path), yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not to be read"
        raise Faulty(Fault(path, mark.line + 1 if mark else 1, f"this is no YAML: {problem}; correct it")) from None


def read_jsonc(path: Path) -> Any:
    """Raises Faulty."""

    def blank(match: "re.Match[str]") -> str:
        return match[0] if match[0].startswith('"') else re.sub(r"[^\n]", " ", match[0])

    text = _TEXT_OR_COMMA.sub(blank, _TEXT_OR_COMMENT.sub(blank, _text(path)))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Faulty(Fault(path, error.lineno, f"this is no JSON: {error.msg}; correct it")) from None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        gone = not isinstance(error, UnicodeDecodeError)
        reason = "can't be read; restore it" if gone else "is no UTF-8; save it as UTF-8"
        raise Faulty(Fault(path, 1, f"the file {reason}")) from None


def own_files(folder: Path) -> Iterator[Path]:
    """The project's own files, sorted, without its environment and what is hidden."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _LEFT_OUT.fullmatch(name))
        yield from (Path(place, name) for name in sorted(names) if name[0] != ".")


def sources(folder: Path) -> Iterator[Path]:
    """Of its own files, code and text."""
    return (path for path in own_files(folder) if path.name.endswith(_SOURCES))


def own_code(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Its Python files without tests. One that can't be parsed fails where it is imported."""
    for path in sources(folder):
        if path.suffix == ".py" and "tests" not in path.relative_to(folder).parts:
            try:
                yield path, ast.parse(path.read_bytes())
            except SyntaxError:
                continue


def line_of(path: Path, pattern: str) -> int:
    """The first line in which the pattern is found; else 1."""
    text = path.read_text(errors="replace") if path.is_file() else ""
    found = re.search(pattern, text)
    return text.count("\n", 0, found.start()) + 1 if found else 1
