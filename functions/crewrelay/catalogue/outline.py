"""What a crew or flow consists of, read as data: its tasks or steps, and which of them may ask a human."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from crewrelay.catalogue.project_files import read_jsonc, read_yaml, sources
from crewrelay.catalogue.yaml_file import Faulty


class Outline(NamedTuple):
    """Names in the order of the files. What is only known when it runs, such as a task made in a loop, is missing."""

    tasks: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


def outline_of(folder: Path) -> Outline:
    """Of a crew's folder or a project. A file that can't be read is left out: what reads it tells so."""
    found: dict[str, bool] = {}  # by name, whether it asks
    for path in sources(folder):
        if "tests" in path.relative_to(folder).parts:
            continue
        for name, asks in _of_code(path) if path.suffix == ".py" else _of_data(path):
            found[name] = asks or found.get(name, False)
    return Outline(tuple(found), tuple(name for name, asks in found.items() if asks))


def _of_data(path: Path) -> Iterator[tuple[str, bool]]:
    read = {".yaml": read_yaml, ".yml": read_yaml, ".json": read_jsonc, ".jsonc": read_jsonc}.get(path.suffix)
    if read is None:
        return
    try:
        data = read(path)
    except Faulty:
        return
    yield from _tasks_in(data, str(path.stem))


def _tasks_in(data: Any, name: str) -> Iterator[tuple[str, bool]]:
    """Whatever has an expected output is a task; the methods of a declarative flow are its steps."""
    if isinstance(data, list):
        for one in data:
            yield from _tasks_in(one, name)
    if not isinstance(data, Mapping):
        return
    if "expected_output" in data:
        yield str(data.get("name", name)), bool(data.get("human_input"))
        return
    methods = data.get("methods")
    for step, method in methods.items() if isinstance(methods, Mapping) else ():
        yield str(step), isinstance(method, Mapping) and bool(method.get("human_feedback"))
    for key, one in data.items():
        yield from _tasks_in(one, str(key))


def _of_code(path: Path) -> Iterator[tuple[str, bool]]:
    """Functions that a decorator makes a task or a step, and what they build."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {_name(decorator) for decorator in node.decorator_list}
            if decorators & {"task", "start", "listen", "router"}:
                yield node.name, "human_feedback" in decorators or any(map(_asks, ast.walk(node)))


def _asks(node: ast.AST) -> bool:
    """Task(human_input=True), self.ask(…) of a flow, crewrelay.ask(…), or input(…)."""
    if not isinstance(node, ast.Call):
        return False
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    switch = given.get("human_input")
    typed = isinstance(node.func, ast.Name) and node.func.id == "input"
    return typed or _name(node) == "ask" or (isinstance(switch, ast.Constant) and switch.value is True)


def _name(node: ast.expr) -> str:
    called = node.func if isinstance(node, ast.Call) else node
    return str(getattr(called, "id", getattr(called, "attr", "")))
