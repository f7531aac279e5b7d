"""The tools that a crew defines in its tools.py, by name."""

import importlib.util
import sys
import traceback
from functools import cache
from inspect import isclass, isfunction
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from crewai.tools import BaseTool
from crewai.tools import tool as tool_of

from crewrelay.catalogue.yaml_file import Fault, Faulty

FILE = "tools.py"


class OwnTools:
    """Functions with a docstring, BaseTool classes and BaseTool objects, each by its name in tools.py."""

    def __init__(self, folder: Path) -> None:
        """Raises Faulty if the file can't be imported."""
        path = folder / FILE
        self._path = path
        self._tools = _tools_of(_imported(path)) if path.is_file() else {}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._tools)

    def new(self, name: str) -> BaseTool:
        """The tool for one run; a tool object in tools.py is shared by all runs. Raises Faulty."""
        found = self._tools[name]
        try:
            if isinstance(found, BaseTool):
                return found
            return cast(BaseTool, found() if isclass(found) else tool_of(found))
        except Exception as error:
            line = getattr(getattr(found, "__code__", None), "co_firstlineno", 1)
            raise Faulty(Fault(self._path, line, f"{name} is no tool: {error}; correct it")) from error


@cache
def own_tools(folder: Path) -> OwnTools:
    return OwnTools(folder)


def _imported(path: Path) -> ModuleType:
    name = f"crewrelay_tools_of_{path.parent.name.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # pydantic looks there for annotations
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 1
        what = f"{type(error).__name__}: {error}; correct it, or install what it needs"
        raise Faulty(Fault(path, line or 1, what)) from error
    return module


def _tools_of(module: ModuleType) -> dict[str, Any]:
    """Tools that are defined in the module, not those that it imports."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, BaseTool)
            or (isfunction(value) and value.__module__ == module.__name__)
            or (isclass(value) and issubclass(value, BaseTool) and value.__module__ == module.__name__)
        )
    }
