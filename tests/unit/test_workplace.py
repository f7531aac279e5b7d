"""The working directory of a run: relative paths lead there, and to no other run's; its output files are kept."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from crewai import Task

from crewrelay.crews.journal import workplace
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.journal.workplace import Workplace, working_in_a_copy
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.testing import Unjournaled
from tests.support.runs import TIMEOUT


@pytest.fixture(autouse=True)
def tuned() -> None:
    tune_crewai()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data/known.csv").write_text("a,b")
    (folder / ".env").write_text("KEY=secret")
    (folder / ".venv").mkdir()
    (folder / ".venv/pyvenv.cfg").write_text("")
    return folder


def in_a_thread(work: Any) -> Any:
    """As a run has one: what a thread changes of itself it keeps."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(TIMEOUT)


def test_relative_paths_lead_to_a_copy_of_the_project(project: Path) -> None:
    def work() -> tuple[list[str], str, Path]:
        with working_in_a_copy(project):
            Path("data/known.csv").write_text("changed")
            found = sorted(str(path) for path in Path().rglob("*"))
            in_a_thread_of_its_own = []
            thread = threading.Thread(target=lambda: in_a_thread_of_its_own.append(Path("data/known.csv").read_text()))
            thread.start()
            thread.join()
            return found, in_a_thread_of_its_own[0], Path.cwd()

    before = Path.cwd()
    found, read, place = in_a_thread(work)
    assert (found, read) == (["data", "data/known.csv"], "changed")
    assert (project / "data/known.csv").read_text() == "a,b"
    assert Path.cwd() == before
    assert not place.exists()


def test_runs_side_by_side_have_directories_of_their_own(project: Path) -> None:
    both = threading.Barrier(2, timeout=TIMEOUT)

    def work(text: str) -> str:
        with working_in_a_copy(project):
            both.wait()
            Path("note.txt").write_text(text)
            both.wait()
            return Path("note.txt").read_text()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, ["one", "two"])) == ["one", "two"]
    assert not Path("note.txt").exists()


def test_a_large_file_of_the_project_is_linked_and_not_overwritten_by_an_output_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workplace, "_LARGEST_COPY", 2)

    def work() -> None:
        with working_in_a_copy(project) as place:
            assert Path("data/known.csv").is_symlink()
            assert Path("data/known.csv").read_text() == "a,b"
            place.write("data/known.csv", "changed")
            assert Path("data/known.csv").read_text() == "changed"

    in_a_thread(work)
    assert (project / "data/known.csv").read_text() == "a,b"


def test_where_a_thread_can_have_none_only_output_files_lead_there(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workplace, "_has_a_directory_of_its_own", lambda: False)
    with working_in_a_copy(project) as place:
        assert Path.cwd() != place.folder
        place.write("report.md", "done")
        assert [(file.name, file.content) for file in place.files()] == [("report.md", b"done")]


def test_where_a_thread_can_have_none_and_the_disk_is_read_only_paths_lead_to_tmp(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workplace, "_has_a_directory_of_its_own", lambda: False)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(project)
    with working_in_a_copy(project):
        assert Path.cwd() == tmp_path


def saved(place: Workplace, result: Any, **options: Any) -> None:
    task = Task(description="a", expected_output="b", **options)
    with journaling(Unjournaled(), workplace=place):
        task._save_file(result)


def test_an_output_file_is_written_into_the_runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    place = Workplace(tmp_path / "run")
    saved(place, "A report", output_file="output/report.md")
    saved(place, {"a": "ü"}, output_file="city.json")
    saved(place, "twice", output_file="city.txt")
    saved(place, "again", output_file="city.txt")
    assert [(file.name, file.size) for file in place.files()] == [
        ("city.json", 15),
        ("city.txt", 5),
        ("output/report.md", 8),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    with pytest.raises(FileNotFoundError):
        saved(place, "a", output_file="gone/report.md", create_directory=False)


@pytest.mark.parametrize("topic", ["../../stolen", "/etc/stolen", "a/../../stolen", ".", "x" * 300])
def test_an_input_leads_no_output_file_out_of_the_folder(tmp_path: Path, topic: str) -> None:
    task = Task(description="a", expected_output="b", output_file="{topic}")
    task.interpolate_inputs_and_add_conversation_history({"topic": topic})
    (tmp_path / "in/run").mkdir(parents=True)
    with (
        journaling(Unjournaled(), workplace=Workplace(tmp_path / "in/run")),
        pytest.raises(InvalidCrew, match="leads outside"),
    ):
        task._save_file("text")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_link_leads_no_output_file_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/out").symlink_to(tmp_path)
    with pytest.raises(InvalidCrew, match="leads outside"):
        Workplace(tmp_path / "run").write("out/stolen", "a")


def test_a_file_that_is_too_large_is_told_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplace, "LARGEST_FILE", 3)
    monkeypatch.setattr(workplace, "MOST_FILES", 2)
    place = Workplace(tmp_path)
    for name in ("a", "b", "c"):
        place.write(name, "four" if name == "a" else "one")
    assert [(file.name, file.size, file.digest is None) for file in place.files()] == [("a", 4, True), ("b", 3, False)]
