"""Installs what projects need beside what is installed, which stays as it is; a conflict is told by name."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path

from uv import find_uv_bin

from crewrelay.catalogue.catalogue import crews_in
from crewrelay.catalogue.project import is_project
from crewrelay.jobs.errors import Misconfigured

_SEPARATORS = re.compile(r"[-_.]+")
_NAME = re.compile(r"[\w.-]+")


def install(projects: Sequence[Path], place: Sequence[str], path: list[str] | None = None) -> list[str]:
    """Install what the projects need together, and return it, as NAME==VERSION. `place` are uv's options for where;
    `path` are the folders with what is installed there, by default of this Python. Raises Misconfigured, having changed
    nothing.
    """
    pins = sorted(_pins(path))
    with tempfile.TemporaryDirectory(prefix="crewrelay-") as scratch:
        constraints, needed = Path(scratch, "constraints.txt"), Path(scratch, "needed.txt")
        constraints.write_text("\n".join(pins))
        needed.write_text("\n".join(project.absolute().as_uri() for project in projects))
        where = [option for option in place if not option.startswith("--target")]
        found = _uv("compile", "--no-header", "--no-annotate", "--constraint", str(constraints), *where, str(needed))
        if found.returncode:
            raise Misconfigured(_explained(projects, found.stderr, pins))
        lines = [line for line in found.stdout.splitlines() if "file://" not in line]
        new = [line for line in lines if _normal(line.partition(" ;")[0]) not in set(pins)]
        if new:
            needed.write_text("\n".join(new))
            done = _uv("install", "--no-deps", "--compile-bytecode", *place, "--requirements", str(needed))
            if done.returncode:
                raise Misconfigured(f"uv could not install what the projects need:\n{done.stderr.strip()}")
    return new


def _pins(path: list[str] | None) -> Iterator[str]:
    """All that is installed from a registry."""
    for known in distributions() if path is None else distributions(path=path):
        if not known.read_text("direct_url.json"):
            yield _normal(f"{known.name}=={known.version}")


def _normal(pin: str) -> str:
    name, _, version = pin.partition("==")
    return f"{_SEPARATORS.sub('-', name).lower()}=={version.strip()}"


def _uv(command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [find_uv_bin(), "pip", command, "--quiet", "--no-progress", "--color", "never", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _explained(projects: Sequence[Path], told: str, pins: Sequence[str]) -> str:
    """Who wants what, and what crewrelay pins of it; then how uv concludes that."""
    names = ", ".join(str(project) for project in projects)
    words = [word.rstrip(",.") for word in told.split()]  # uv wraps its lines
    verbs = [at for at in range(1, len(words) - 2) if words[at : at + 2] == ["depends", "on"]]
    wants = dict.fromkeys((words[at - 1], words[at + 2]) for at in verbs)
    wanted = {_normal(name[0]).removesuffix("==") for _, what in wants if (name := _NAME.match(what))}
    pinned = [pin for pin in pins if pin.partition("==")[0] in wanted and pin in words]
    return "\n".join(
        [
            f"{names}: what is needed can't be installed beside crewrelay; nothing was changed",
            *(f"  {who} wants {what}" for who, what in wants),
            *(f"  crewrelay pins {pin}" for pin in pinned),
            "change what the project asks for in its pyproject.toml. As uv says it:",
            told.strip(),
        ]
    )


def main(target: str, *arguments: str) -> None:
    """Of infra/layout.sh: install what the projects in some folders need into `target`. After -- come uv's options."""
    shelves, options = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    projects = [project for shelf in shelves for project in crews_in(Path(shelf)) if is_project(project)]
    if projects:
        try:
            install(projects, [f"--target={target}", *options], [target])
        except Misconfigured as error:
            sys.exit(f"crewrelay: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
