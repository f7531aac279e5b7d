"""`make build CREWS=…`: what is copied into the checkout."""

from pathlib import Path

import pytest

from crewrelay.catalogue.catalogue import SCAFFOLD
from crewrelay.jobs.errors import Misconfigured
from crewrelay.local.staging import main, stage
from tests.support.projects import little_flow


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "functions").mkdir()
    return tmp_path / "functions/.crews"


def own_crew(folder: Path, name: str) -> Path:
    config = folder / name / "config"
    config.mkdir(parents=True)
    for file in SCAFFOLD.glob("*.yaml"):
        (config / file.name).write_text(file.read_text())
    return folder / name


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_crews_and_projects_are_copied_without_secrets_and_environments(tmp_path: Path, place: Path) -> None:
    project = little_flow(tmp_path / "a", "return 'done'", "flowing")
    for hidden in (".env", ".venv/pyvenv.cfg", ".git/config", "src/flowing/__pycache__/main.pyc"):
        (project / hidden).parent.mkdir(parents=True, exist_ok=True)
        (project / hidden).write_text("hidden")
    assert stage(place, [project, own_crew(tmp_path / "b", "mine").parent])
    assert files(place) == {
        *("flowing/pyproject.toml", "flowing/src/flowing/main.py"),
        *(f"mine/config/{name}.yaml" for name in ("crew", "agents", "tasks")),
    }
    assert [path.name for path in place.parent.iterdir()] == [".crews"]


def test_what_was_staged_before_is_replaced_and_a_stamp_tells(tmp_path: Path, place: Path) -> None:
    project, stamp = little_flow(tmp_path, "return 'done'", "flowing"), tmp_path / "stamp"
    main(str(place), str(stamp), str(project))
    assert files(place)
    stamp.unlink()
    assert not stage(place, [project])
    (project / "src/flowing/main.py").write_text("changed")
    main(str(place), str(stamp), str(project))
    assert (place / "flowing/src/flowing/main.py").read_text() == "changed"
    assert stamp.exists()
    assert stage(place, [])
    assert not place.exists()
    assert not stage(place, [])


def test_what_is_no_crew_is_refused_and_what_was_staged_stays(tmp_path: Path, place: Path) -> None:
    project, other = (little_flow(tmp_path / part, "return 'done'", "flowing") for part in ("a", "b"))
    (tmp_path / "empty").mkdir()
    stage(place, [project])
    for given, told in (
        ([tmp_path / "gone"], "there is no folder .*/gone"),
        ([project, tmp_path / "empty"], "there is no crew and no project of CrewAI in .*/empty"),
        ([project, other], "are both named flowing"),
    ):
        with pytest.raises(Misconfigured, match=told):
            stage(place, given)
    with pytest.raises(SystemExit, match="crewrelay: CREWS: there is no folder"):
        main(str(place), str(tmp_path / "stamp"), str(tmp_path / "gone"))
    assert files(place)
