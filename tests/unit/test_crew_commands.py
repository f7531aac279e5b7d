"""`crewrelay crews` as its users type it."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.cli.commands import app
from tests.support.crews import AGENTS, CREW, TASKS, OwnCrews
from tests.support.processes import ROOT


@pytest.fixture
def folder(own_crews: OwnCrews, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory where no crew is yet."""
    monkeypatch.chdir(own_crews.folder.parent)
    monkeypatch.delenv("CREWRELAY_CREWS")
    monkeypatch.delenv("CREWRELAY_MODEL", raising=False)
    own_crews.folder.rmdir()
    return own_crews.folder.parent


def crews(*arguments: str, code: int = 0) -> Result:
    catalogue.cache_clear()  # as in a process of its own
    result = CliRunner().invoke(app, ["crews", *arguments])
    assert result.exit_code == code, result.output
    return result


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_new_crew_is_found_and_runs_as_it_is(folder: Path) -> None:
    said = crews("new", "mine").stdout
    assert "next: crewrelay crews check crews/mine" in said
    assert sorted(files(folder)) == [f"crews/mine/config/{name}.yaml" for name in ("agents", "crew", "tasks")]
    assert all(name in said for name in files(folder))
    assert "mine      topic, reader, language: " in crews("list").stdout
    for named in ("mine", "crews/mine"):
        checked = crews("check", named).stdout
        assert "no faults in its 2 agents and 2 tasks" in checked
        assert "model crewrelay/extractive (CREWRELAY_MODEL): configured" in checked
        assert "topic='how neural networks learn', reader='beginners', language='en'" in checked
        assert "--- explain, by Explainer\nA neural network is a mathematical function" in checked


def test_a_crew_that_asks_a_human_is_checked_without_one(folder: Path) -> None:
    crews("new", "mine")
    tasks = folder / "crews/mine/config/tasks.yaml"
    tasks.write_text(tasks.read_text().replace("  agent:", "  human_input: true\n  agent:", 1))
    assert "human_input" in tasks.read_text()
    assert "--- explain, by Explainer\n" in crews("check", "mine").stdout


def test_a_new_crew_goes_where_it_is_told_or_where_crews_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "to use it, set CREWRELAY_CREWS=deep/er\n" in crews("new", "one", "--in", "deep/er").stdout
    assert (folder / "deep/er/one/config/crew.yaml").is_file()
    (folder / "shelf").mkdir()
    monkeypatch.setenv("CREWRELAY_CREWS", "shelf")
    assert "it is found" not in crews("new", "two").stdout
    assert (folder / "shelf/two/config/crew.yaml").is_file()
    monkeypatch.setenv("CREWRELAY_CREWS", "shelf/two")  # a crew's own: none goes into it
    crews("new", "three")
    assert (folder / "crews/three/config/crew.yaml").is_file()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "'' is not a valid name"),
        ("Mine", "'Mine' is not a valid name: a crew's name has small letters"),
        ("../mine", "is not a valid name"),
        ("a" * 64, "is not a valid name"),
        ("1st", "is not a valid name"),
        ("mine\n", "is not a valid name"),
        ("research", "there is a crew research already"),
        ("taken", "crews/taken exists; choose another name"),
        ("linked", "crews/linked exists; choose another name"),
    ],
)
def test_a_name_that_can_not_be_used_writes_nothing(folder: Path, name: str, told: str) -> None:
    (folder / "crews").mkdir()
    (folder / "crews/taken").write_text("something else")
    (folder / "crews/linked").symlink_to("nowhere")
    before = files(folder)
    assert told in crews("new", name, code=1).stderr
    assert files(folder) == before


def test_a_folder_that_takes_no_files_is_told_and_nothing_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    told = crews("new", "mine", "--in", "deep/er", code=1).stderr
    assert told == "crewrelay: can't write deep/er/mine: No space left on device; choose another folder with --in\n"
    assert list(folder.iterdir()) == []
    (folder / "file").write_text("")
    assert "choose another folder" in crews("new", "mine", "--in", "file", code=1).stderr


def test_check_tells_every_fault_and_where(own_crews: OwnCrews) -> None:
    own_crews.put(crew=CREW + "process: none\n", agents=AGENTS + "  memory: true\n", tasks=TASKS + "  output_file: r\n")
    told = crews("check", "tales", code=1).stderr.splitlines()
    place = own_crews.folder / "tales/config"
    assert [line.split(" ")[0] for line in told] == [
        f"{place}/agents.yaml:5:", f"{place}/crew.yaml:6:", f"{place}/tasks.yaml:5:"
    ]  # fmt: skip


def test_check_tells_what_the_files_together_and_its_models_lack(own_crews: OwnCrews) -> None:
    folder = own_crews.put(crew=CREW + "model: gpt\n", tasks=TASKS.replace("{topic}", "{tropic}"))
    told = crews("check", str(folder), code=1).stderr
    assert "crew.yaml:6: model: 'gpt' is not of the form provider/model" in told
    assert "tasks.yaml:2: tell.description: {tropic} is no input" in told


def test_check_tells_that_the_model_of_the_settings_lacks_its_key(
    own_crews: OwnCrews, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_crews.put()
    monkeypatch.setenv("CREWRELAY_MODEL", "deepseek/chat")
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    told = crews("check", "tales", code=1).stderr
    assert told.startswith("crewrelay: CREWRELAY_MODEL='deepseek/chat' needs a key: set CREWRELAY_MODEL_API_KEY")


def test_check_runs_a_crew_without_inputs_search_or_fields(own_crews: OwnCrews) -> None:
    own_crews.put("bare", crew="description: x\ninputs: {}\n", tasks=TASKS.replace(" of {topic}", ""))
    checked = crews("check", "bare").stdout
    assert "a dry run with crewrelay/extractive on the shipped corpus\n" in checked
    assert "--- tell, by Teller of tales" in checked


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("nobody", "there is no crew nobody: use one of research, or a crew's folder"),
        (".", "it has no config/crew.yaml; `crewrelay crews new` writes one"),
    ],
)
def test_check_says_what_there_is_to_check(folder: Path, named: str, told: str) -> None:
    assert told in crews("check", named, code=1).stderr


def test_check_wants_a_folder_with_a_crews_name(own_crews: OwnCrews) -> None:
    folder = own_crews.put()
    folder = folder.rename(folder.with_name("My Tales"))
    assert "rename the folder" in crews("check", str(folder), code=1).stderr


def test_the_worked_example_is_checked_by_its_folder() -> None:
    assert "compare: no faults" in crews("check", str(ROOT / "docs/crews/compare")).stdout
