"""`crewrelay crews add` in an environment of the test's own, and the same for the image; the test makes the wheels."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.projects import little_flow
from tests.support.wheels import only_from, wheel

IMPORTS = "\nimport greeting\n"  # when the project is loaded


class Environment:
    """Has what the tests have, and what is added to it."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self._folder = folder / "environment"
        venv.create(self._folder, symlinks=True)
        (self.packages,) = self._folder.glob("lib/python*/site-packages")
        (self.packages / "of_the_tests.pth").write_text(
            f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})"
        )

    def add(self, project: Path, code: int = 0) -> str:
        done = subprocess.run(
            [self._folder / "bin/python", "-m", "crewrelay", "crews", "add", str(project)],
            env={**os.environ, **only_from(self.wheels), "CREWRELAY_CREWS": ""},
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def held(self) -> set[str]:
        return {path.name for path in self.packages.iterdir()}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def asking(folder: Path, name: str, *needs: str, code: str = IMPORTS) -> Path:
    project = little_flow(folder, "return 'done'", name, code)
    path = project / "pyproject.toml"
    listed = ", ".join(f'"{one}"' for one in needs)
    path.write_text(path.read_text().replace("[tool", f'version = "1"\ndependencies = [{listed}]\n[tool', 1))
    return project


def test_what_a_project_needs_is_installed_and_the_project_checked(tmp_path: Path, environment: Environment) -> None:
    wheel(environment.wheels, "greeting", "1.2", "hello>=1")
    wheel(environment.wheels, "hello", "1.0")
    project = asking(tmp_path, "greeter", "greeting>=1", f"pydantic=={version('pydantic')}")
    wheel(environment.wheels, "pydantic", version("pydantic"))  # is installed: stays as it is
    told = environment.add(project).splitlines()
    assert told[0] == "installed greeting==1.2, hello==1.0"
    assert told[1].startswith("greeter: no faults")
    assert told[-1] == f"to serve it: CREWRELAY_CREWS={project} crewrelay serve"
    assert {"greeting.py", "hello.py"} <= environment.held()
    assert not [name for name in environment.held() if name.startswith("pydantic")]
    main = project / "src/greeter/main.py"
    main.write_text(f"{main.read_text()}raise OSError('no greeting')\n")
    told_again = environment.add(project, code=1)
    assert told_again.startswith("all that it needs is installed\n")
    assert "OSError: no greeting" in told_again
    assert "to serve it" not in told_again


def test_a_conflict_is_told_by_name_and_nothing_is_changed(tmp_path: Path, environment: Environment) -> None:
    wheel(environment.wheels, "greeting", "1.2", "typer<0.1")
    wheel(environment.wheels, "hello", "1.0")
    before = environment.held()
    told = environment.add(asking(tmp_path, "greeter", "hello", "greeting==1.2"), code=1)
    for line in ("greeting>=1.2 wants typer<0.1", "wants greeting==1.2", f"crewrelay pins typer=={version('typer')}"):
        assert line in told, told
    assert "change what the project asks for in its pyproject.toml" in told
    assert environment.held() == before
    told = environment.add(asking(tmp_path, "typist", "pydantic<2", "hello"), code=1)
    assert f"  typist==1 wants pydantic<2\n  crewrelay pins pydantic=={version('pydantic')}\n" in told
    assert environment.held() == before


def test_what_is_nowhere_is_told(tmp_path: Path, environment: Environment) -> None:
    wheel(environment.wheels, "hello", "1.0")
    told = environment.add(asking(tmp_path, "greeter", "nowhere-to-be-found"), code=1)
    assert "nowhere-to-be-found was not found" in told


def test_what_is_no_project_is_refused(tmp_path: Path, environment: Environment) -> None:
    assert "it has no pyproject.toml with [tool.crewai]" in environment.add(tmp_path, code=1)


def test_the_image_gets_what_its_projects_need_beside_what_it_has(tmp_path: Path) -> None:
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    wheel(wheels, "hello", "1.0")
    wheel(wheels, "hello", "2.0")
    wheel(wheels, "greeting", "1.2", "hello>=1", "heavy")
    wheel(wheels, "heavy", "1.0")
    (tmp_path / "left-out.txt").write_text("heavy\n")
    with zipfile.ZipFile(wheels / "hello-1.0-py3-none-any.whl") as image:
        image.extractall(target)  # what the image has
    shelf = tmp_path / "shelf"
    asking(shelf, "greeter", "greeting")
    asking(shelf, "waver", "hello")

    def laid_out() -> "subprocess.CompletedProcess[str]":
        options = ["--python-version", "3.11", "--only-binary", ":all:", "--excludes", str(tmp_path / "left-out.txt")]
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "crewrelay.local.dependencies",
                str(target),
                str(tmp_path / "shelf"),
                "--",
                *options,
            ],
            env={**os.environ, **only_from(wheels)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = laid_out()
    assert done.returncode == 0, done.stderr
    has = {path.name for path in target.iterdir()}
    assert {"greeting.py", "hello-1.0.dist-info"} <= has
    assert not {"heavy.py", "hello-2.0.dist-info"} & has
    asking(shelf, "shouter", "hello>=2")
    refused = laid_out()
    assert refused.returncode == 1
    assert "  shouter==1 wants hello>=2\n  crewrelay pins hello==1.0\n" in refused.stderr
    assert {path.name for path in target.iterdir()} == has
