"""Where a project's own modules are imported from: all projects of a process share sys.path and the modules' names."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from crewrelay.catalogue.project import Project
from crewrelay.catalogue.project_files import own_code
from crewrelay.catalogue.yaml_file import Fault, Faulty

_projects: dict[Path, Path] = {}  # by what was added to sys.path, the project's folder


def make_importable(project: Project) -> None:
    """Its folder src; for modules that are not there, the folders of its main.py and its own: Python and `crewai run`
    find them in these. What is installed comes first. Raises Faulty for a name that another project has taken.
    """
    folder = project.folder.resolve()
    _add(folder / "src", folder)
    beside = sorted(main.parent for main in folder.glob("src/*/main.py"))
    for root in (*beside, folder):
        for path, node, name in _imports(folder):
            if not _has(root, name):
                continue
            place = _place_of(name)
            if place is None:
                _add(root, folder)
            elif other := _other_project(place, folder):
                what = f"the project in {other} has a module {name} too; rename one of them, or serve them apart"
                raise Faulty(Fault(path, node.lineno, what))


def _add(root: Path, folder: Path) -> None:
    if root not in _projects:
        _projects[root] = folder
        sys.path.append(str(root))


def _other_project(place: Path, folder: Path) -> Path | None:
    """The other project that has what is imported from this place."""
    roots = [root for root in _projects if place.is_relative_to(root) and not place.is_relative_to(folder)]
    return _projects[roots[0]] if roots else None


def _imports(folder: Path) -> Iterator[tuple[Path, ast.stmt, str]]:
    """The first part of each name that its code imports."""
    for path, tree in own_code(folder):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((path, node, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield path, node, node.module.partition(".")[0]


def _has(root: Path, name: str) -> bool:
    return (root / f"{name}.py").is_file() or any((root / name).glob("**/*.py"))


def _place_of(name: str) -> Path | None:
    """The file or folder that is imported; None if nothing is."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # of a module that was made without a spec
        return None
    if spec is None:
        return None
    place = next(iter(spec.submodule_search_locations or ()), spec.origin or "")
    return Path(place)
