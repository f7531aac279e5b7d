"""Modules of a project are found where CrewAI's commands and Python find them; projects don't get each other's."""

from pathlib import Path

from crewai import LLM
from crewai.llms.base_llm import BaseLLM

from crewrelay.catalogue.catalogue import Catalogue
from crewrelay.catalogue.project import name_of, read_project
from crewrelay.crews.running.checks import faults_of
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.job import JobInput
from crewrelay.testing import Unjournaled
from tests.support.crews import Shelf
from tests.support.projects import edit, json_crew, little_flow


def new_model(name: str | None = None) -> BaseLLM:
    model: BaseLLM = LLM(model="of-the-settings", provider="openai", api_key="none")
    return model


def faults(folder: Path) -> list[str]:
    return [str(fault) for fault in faults_of(read_project(name_of(folder), folder), new_model)]


def run(folder: Path) -> str:
    runner = CrewRunner(new_model, Shelf(), definition_of=Catalogue([folder]).definition)
    return runner.run(JobInput(crew=folder.name, inputs={}), Unjournaled()).text


def flow_with_module(shelf: Path, name: str, module: str) -> Path:
    """Its step imports the module, which is beside its main.py, when it runs."""
    folder = little_flow(shelf, f"from {module} import TOLD; return TOLD", name)
    (folder / f"src/{name}" / f"{module}.py").write_text(f"TOLD = 'the module of {name}'\n")
    return folder


def test_a_tool_of_a_json_crew_imports_a_package_of_its_folder(tmp_path: Path) -> None:
    folder = json_crew(tmp_path, "served_by_folder")
    (folder / "stations").mkdir()
    (folder / "stations/ulm.py").write_text("CITY = 'Ulm'\n")
    edit(folder / "tools/weather.py", ("from crewai", "from stations.ulm import CITY\nfrom crewai"))
    assert faults(folder) == []


def test_a_module_that_a_json_crew_names_fails_with_the_reason(tmp_path: Path) -> None:
    folder = json_crew(tmp_path, "without_reason")
    edit(folder / "checks.py", ("from pydantic", "import gone_for_good\nfrom pydantic"))
    (told,) = faults(folder)
    assert f"{folder}/checks.py:1: " in told
    assert "ModuleNotFoundError: No module named 'gone_for_good'; correct it, or install what it needs" in told


def test_a_flow_imports_what_is_beside_its_main_also_late(tmp_path: Path) -> None:
    folder = flow_with_module(tmp_path, "beside", "beside_it")
    assert faults(folder) == []
    assert run(folder) == "the module of beside"


def test_a_state_that_is_beside_the_main_declares_its_inputs(tmp_path: Path) -> None:
    folder = little_flow(tmp_path, "return self.state.city", "stated")
    (folder / "src/stated/states_of_it.py").write_text(
        "from pydantic import BaseModel\nclass Town(BaseModel):\n    city: str = 'Ulm'\n"
    )
    edit(folder / "src/stated/main.py", ("class State", "from states_of_it import Town\nclass State"))
    edit(folder / "src/stated/main.py", ("Flow[State]", "Flow[Town]"))
    assert list(read_project("stated", folder).card.inputs.declared) == ["city"]
    assert run(folder) == "Ulm"


def test_two_projects_with_a_module_of_one_name_do_not_get_each_others(tmp_path: Path) -> None:
    first, second = (flow_with_module(tmp_path, name, "said_by_both") for name in ("one_of_two", "two_of_two"))
    assert faults(first) == []
    (told,) = faults(second)
    assert "src/two_of_two/main.py:12: the project in " in told
    assert f"{first} has a module said_by_both too; rename one of them, or serve them apart" in told
    assert run(first) == "the module of one_of_two"


def test_what_is_installed_is_not_hidden_by_a_file_of_a_project(tmp_path: Path) -> None:
    folder = little_flow(tmp_path, "import httpx; return httpx.codes.OK.name", "hiding")
    (folder / "src/hiding/httpx.py").write_text("raise OSError\n")
    assert faults(folder) == []
    assert run(folder) == "OK"


def test_a_json_crew_without_the_mark_of_crewais_command_is_a_project(tmp_path: Path) -> None:
    folder = json_crew(tmp_path, "unmarked")
    edit(folder / "pyproject.toml", ("[tool.crewai]", "[tool.other]"))
    assert read_project("unmarked", folder).definition == folder / "crew.jsonc"
    assert Catalogue([tmp_path]).is_project("unmarked")
