"""Projects that CrewAI's own command created: read as data, checked, run, killed after every call and resumed."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM
from crewai.llms.base_llm import BaseLLM

from crewrelay.catalogue.catalogue import Catalogue
from crewrelay.catalogue.project import Project, name_of, read_project
from crewrelay.catalogue.yaml_file import Faulty
from crewrelay.crews.running.checks import faults_of, refuse_broken
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.running.run import Run, RunStopped
from crewrelay.testing import Unjournaled
from tests.support.crews import Shelf
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.fixtures import HandSetClock
from tests.support.projects import classic, create, declared_flow, edit, flow, json_crew, little_flow, looks_of
from tests.support.runs import Attempts, reason

GIVEN: dict[str, dict[str, Any]] = {
    "weathers": {"topic": "rain", "current_year": "2026"},
    "climates": {"topic": "rain", "reader": "experts"},
    "gusts": {"topic": "rain", "readers": [{"name": "Ann", "age": 40}]},
    "fronts": {"topic": "rain", "readers": [{"name": "Ann"}]},
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of each form, beside each other."""
    folder = tmp_path_factory.mktemp("projects")
    classic(folder, "weathers")
    json_crew(folder, "climates")
    flow(folder, "gusts")
    declared_flow(folder, "fronts")
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with openai_server() as server:
        for name, value in {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none"}.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def runner(shelf: Path, server: OpenAIServer) -> CrewRunner:
    return runner_of(shelf)


def runner_of(shelf: Path) -> CrewRunner:
    return CrewRunner(new_model, Shelf(), definition_of=Catalogue([shelf]).definition)


def new_model(name: str | None = None) -> BaseLLM:
    model: BaseLLM = LLM(model="of-the-settings", provider="openai")
    return model


def job_of(name: str) -> JobInput:
    return JobInput(crew=name, inputs=dict(GIVEN[name]))


def project_of(folder: Path) -> Project:
    return read_project(name_of(folder), folder)


# ---- read as data


def test_projects_are_crews_of_the_catalogue_under_their_names(shelf: Path) -> None:
    known = Catalogue([shelf])
    assert known.names() == ("climates", "fronts", "gusts", "research", "weathers")
    assert Catalogue([shelf / "weathers"]).names() == ("research", "weathers")
    assert known.card("weathers").crew.description == "weathers using crewAI"


def test_the_inputs_of_a_classic_crew_are_its_placeholders(shelf: Path) -> None:
    schema = Catalogue([shelf]).card("weathers").inputs.json_schema()
    assert schema["required"] == ["topic", "current_year"] == list(schema["properties"])


def test_the_inputs_of_a_json_crew_have_its_defaults(shelf: Path) -> None:
    """A list is none of our types; its default is left to CrewAI."""
    schema = Catalogue([shelf]).card("climates").inputs.json_schema()
    defaults = {name: one.get("default") for name, one in schema["properties"].items()}
    assert defaults == {"topic": "AI // trends", "year": 2026, "reader": None, "draft": False}
    assert schema["required"] == ["reader"]
    assert schema["properties"]["year"]["type"] == "integer"


REFINED = """
[tool.crewrelay]
description = "Tells of the weather."
inputs.topic = {description = "Where", max_length = 20, default = "Ulm"}
inputs.pages = {type = "integer", minimum = 1, default = 2}
"""


def written(tmp_path: Path, more: str = "", **files: str) -> Path:
    """A project with these files in src/little/config, written by hand."""
    folder = tmp_path / "little"
    config = folder / "src/little/config"
    config.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "little"\n[tool.crewai]\ntype = "crew"\n{more}')
    for name, text in ({"agents": "one: {role: 'Of {topic}'}\n"} | files).items():
        (config / f"{name}.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("scripts", "file", "kind"),
    [
        ('little = "little.main:run"', "crew.py", "crew"),
        ('kickoff = "little.main:kickoff"', "main.py", "flow"),
    ],
)
def test_an_older_project_has_no_mark(tmp_path: Path, scripts: str, file: str, kind: str) -> None:
    """CrewAI's own examples are of this form."""
    folder = tmp_path / "little"
    (folder / "src/little").mkdir(parents=True)
    text = f'[project]\nname = "little"\ndependencies = ["crewai[tools]>=0.152.0"]\n[project.scripts]\n{scripts}\n'
    (folder / "pyproject.toml").write_text(text)
    (folder / "src/little" / file).write_text("from crewai.flow import Flow\nclass Little(Flow): ...\n")
    assert Catalogue([tmp_path]).card("little").kind == kind


@pytest.mark.parametrize("needs", ["crewai-tools", "requests"])
def test_a_folder_that_needs_no_crewai_is_no_project(tmp_path: Path, needs: str) -> None:
    folder = tmp_path / "little"
    (folder / "src/little").mkdir(parents=True)
    (folder / "src/little/crew.py").write_text("")
    (folder / "pyproject.toml").write_text(f'[project]\nname = "little"\ndependencies = ["{needs}"]\n')
    assert Catalogue([tmp_path]).names() == ("research",)


def test_a_check_finds_files_by_relative_paths(tmp_path: Path) -> None:
    folder = little_flow(tmp_path, "return 1", "readers", "\nopen('notes.txt').close()\n")
    (folder / "notes.txt").write_text("Known.")
    assert faults_of(project_of(folder), new_model) == []


def test_inputs_can_be_refined(tmp_path: Path) -> None:
    card = project_of(written(tmp_path, REFINED)).card
    assert card.crew.description == "Tells of the weather."
    assert card.inputs.check({}) == {"topic": "Ulm", "pages": 2}
    assert card.inputs.json_schema()["properties"]["topic"]["maxLength"] == 20


@pytest.mark.parametrize(
    ("more", "agents", "told"),
    [
        ("[", "", "pyproject.toml:5: this is no TOML"),
        (
            "[tool.crewrelay]\nputs = 1",
            "",
            "pyproject.toml:5: tool.crewrelay.puts: Extra inputs are not permitted; correct it",
        ),
        (
            "[tool.crewrelay.inputs.topic]\ntype = 'float'",
            "",
            "pyproject.toml:5: tool.crewrelay.inputs.topic: Input should be 'string'",
        ),
        ("", "one: {", "agents.yaml:2: this is no YAML"),
    ],
)
def test_a_project_that_can_not_be_read_is_told_with_file_and_line(
    tmp_path: Path, more: str, agents: str, told: str
) -> None:
    folder = written(tmp_path, more, agents=agents + "\n")
    with pytest.raises(Faulty) as faulty:
        project_of(folder)
    assert told in str(faulty.value)


def test_a_crew_of_json_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "crew.jsonc").write_text('{\n  // a comment: {\n  "tasks": [}\n}\n')
    with pytest.raises(Faulty, match=r"crew\.jsonc:3: this is no JSON"):
        project_of(folder)


def test_neither_crewai_nor_its_code_is_imported_to_read_a_project(shelf: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from crewrelay.catalogue.catalogue import Catalogue;"
        f"known = Catalogue([Path({str(shelf)!r})]); [known.card(name) for name in known.names()];"
        "print([name for name in sys.modules if name.split('.')[0] in ('crewai', 'weathers', 'checks', 'gusts')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- checked


@pytest.mark.parametrize("name", GIVEN)
def test_a_fresh_project_has_no_faults(shelf: Path, server: OpenAIServer, name: str) -> None:
    assert faults_of(project_of(shelf / name), new_model) == []
    assert server.asked == []


def changed(
    tmp_path: Path, name: str, make: Callable[[Path, str], Path], file: str, before: str, after: str
) -> list[str]:
    """The faults of a project with one more change."""
    project = make(tmp_path, name)
    edit(project / file.format(name=name), (before, after))
    return [str(fault) for fault in faults_of(project_of(project), new_model)]


@pytest.mark.parametrize(
    ("make", "file", "before", "after", "told"),
    [
        (
            json_crew,
            "agents/researcher.jsonc",
            '"settings": {',
            '"multimodal": true, "settings": {',
            "agents/researcher.jsonc",
        ),
        (
            classic,
            "src/{name}/crew.py",
            "process=Process.sequential,",
            "process=Process.sequential, memory=__import__('crewai').Memory(storage=object()),",
            "crew.py:{line}: memory of the crew is not the same in the next run; give it no storage of its own",
        ),
        (
            classic,
            "src/{name}/checks.py",
            "class City",
            "import gone\n\nclass City",
            "checks.py:4: ModuleNotFoundError",
        ),
        (classic, "src/{name}/crew.py", "@CrewBase", "# @CrewBase", "has 0 classes with @CrewBase; name one"),
        (
            classic,
            "src/{name}/crew.py",
            "tools=[Weather()],",
            "mcps=['notion#search', 'https://example.org/mcp'],",
            "crew.py:{line}: mcps of",
        ),
        (
            json_crew,
            "agents/researcher.jsonc",
            '"settings": {',
            '"mcps": ["crewai-amp:notion"], "settings": {',
            "agents/researcher.jsonc:{line}: mcps of",
        ),
        (
            declared_flow,
            "src/{name}/flow.yaml",
            "backstory: You plan.",
            "apps: ['gmail']\n        backstory: You plan.",
            "flow.yaml:{line}: apps asks services that are not journaled; remove it, and ask for it in a tool",
        ),
    ],
    ids=[
        "an option in JSON",
        "memory with a storage",
        "a missing package",
        "no class",
        "mcps",
        "mcps in JSON",
        "apps of a flow",
    ],
)
def test_what_can_not_run_is_told_with_file_and_remedy(
    tmp_path: Path,
    server: OpenAIServer,
    request: pytest.FixtureRequest,
    make: Callable[[Path, str], Path],
    file: str,
    before: str,
    after: str,
    told: str,
) -> None:
    name = f"faulty_{abs(hash(request.node.name))}"
    (fault, *_) = changed(tmp_path, name, make, file, before, after)
    text = (tmp_path / name / file.format(name=name)).read_text()
    line = text.count("\n", 0, text.find(after.partition("\n")[0])) + 1
    assert told.format(line=line) in fault


def test_a_project_that_fails_to_load_fails_its_jobs_only(
    tmp_path: Path, attempts: Attempts, server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    edit(classic(tmp_path, "broken") / "src/broken/crew.py", ("@CrewBase", "raise OSError('no disk')\n@CrewBase"))
    assert len(refuse_broken(Catalogue([tmp_path]), new_model)) == 1
    assert "src/broken/crew.py" in caplog.text
    run = attempts.start()
    with pytest.raises(InvalidCrew, match="OSError: no disk"):
        runner_of(tmp_path).run(JobInput(crew="broken", inputs={}), run)


# ---- run


class Killed(Exception):
    pass


class KilledAfter:
    """Calls that are journaled, until so many new ones of the model are: from then on the process is gone."""

    def __init__(self, run: Run, paid: int) -> None:
        self._run, self._left = run, paid

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def call(self, kind: Kind, request: dict[str, Any], pay: Callable[[], Reply]) -> Reply:
        def counted() -> Reply:
            self._left -= kind is Kind.MODEL
            return pay()

        if self._left == 0:
            raise Killed
        reply = self._run.call(kind, request, counted)
        if self._left == 0:
            raise Killed
        return reply


@pytest.mark.parametrize("name", GIVEN)
def test_a_project_that_is_killed_after_every_call_pays_for_each_once(
    runner: CrewRunner, server: OpenAIServer, shelf: Path, clock: HandSetClock, name: str
) -> None:
    expected = runner.run(job_of(name), Attempts(clock).start()).text
    calls, looks = len(server.asked), looks_of(shelf / name).read_text()
    assert calls >= 2
    assert looks == "Ulm\n"
    attempts = Attempts(clock)
    for killed in range(1, calls):
        calling: Any = KilledAfter(attempts.start(), 1)
        with pytest.raises(Killed):
            runner.run(job_of(name), calling)
        assert len(server.asked) == calls + killed
    answer: Answer = runner.run(job_of(name), run := attempts.start())
    assert answer.text == expected
    assert len(server.asked) == 2 * calls
    assert looks_of(shelf / name).read_text() == "Ulm\n" * 2
    assert not run.outcome.done()
    assert len([call for call in attempts.journal if call.kind is Kind.MODEL]) == calls
    looks_of(shelf / name).unlink()


def test_a_fresh_project_of_json_runs_with_its_memory_and_is_killed_after_every_call(
    tmp_path: Path, server: OpenAIServer, clock: HandSetClock, caplog: pytest.LogCaptureFixture
) -> None:
    folder = create(tmp_path, "fresh", "crew")
    assert '"memory": true' in (folder / "crew.jsonc").read_text()
    edit(
        folder / "crew.jsonc", ("Research current AI trends and", "Research {topic} " * 20)
    )  # a model is to analyse it
    edit(folder / "crew.jsonc", ('"inputs": {}', '"inputs": {"topic": "rain"}'))
    with caplog.at_level("INFO"):
        assert refuse_broken(Catalogue([tmp_path]), new_model) == []
    assert "the memory of fresh lasts for a run" in caplog.text
    runner, job = runner_of(tmp_path), JobInput(crew="fresh", inputs={"topic": "rain"})
    files = sorted(folder.rglob("*"))
    expected = runner.run(job, Attempts(clock).start()).text
    asked, embedded = sorted(map(str, server.asked)), sorted(map(str, server.embedded))
    assert len(asked) >= 4
    assert len(embedded) >= 2
    server.asked.clear()
    server.embedded.clear()
    attempts = Attempts(clock)
    answer, kills = "", []
    for _ in range(len(asked)):
        calling: Any = KilledAfter(run := attempts.start(), 1)
        with suppress(Exception):  # the crew may go on without its memory, but the run has ended
            answer = runner.run(job, calling).text
        if not run.outcome.done():
            break
        kills.append(reason(run))
    assert len(kills) >= 3  # then the memories are saved, by two calls at once
    assert all(isinstance(error, Killed) for error in kills)
    assert answer == expected
    assert sorted(map(str, server.asked)) == asked
    assert sorted(map(str, server.embedded)) == embedded
    assert sorted(folder.rglob("*")) == files


def test_jobs_of_several_projects_run_side_by_side(runner: CrewRunner, server: OpenAIServer) -> None:
    names = [*GIVEN] * 4
    runs = [Unjournaled() for _ in names]
    with ThreadPoolExecutor(len(names)) as pool:
        told = list(pool.map(lambda name, run: runner.run(job_of(name), run).text, names, runs))
    assert len(set(told)) <= len(GIVEN)
    calls = {(name, len(run.paid)) for name, run in zip(names, runs, strict=True)}
    assert len(calls) == len(GIVEN)  # each project's jobs made as many, and none another's


def test_an_agent_without_a_model_gets_that_of_the_settings(runner: CrewRunner, server: OpenAIServer) -> None:
    runner.run(job_of("weathers"), Unjournaled())
    runner.run(job_of("climates"), Unjournaled())
    assert {body["model"] for body in server.asked} == {"of-the-settings", "gpt-4o"}


def test_a_verbose_project_prints_nothing(
    runner: CrewRunner,
    server: OpenAIServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in GIVEN:
        runner.run(job_of(name), Unjournaled())
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []  # nor does it write its files there


def test_inputs_and_defaults_reach_the_prompt(runner: CrewRunner, server: OpenAIServer) -> None:
    inputs: dict[str, Any] = {"topic": "snow {year}", "year": 1999, "draft": False, "reader": "experts"}
    runner.run(JobInput(crew="climates", inputs=inputs), Unjournaled())
    assert "in 1999 for experts" in str(server.asked[0])


def test_another_file_of_the_project_makes_it_another_crew(tmp_path: Path) -> None:
    folder = written(tmp_path)
    before = project_of(folder).digest
    assert project_of(folder).digest == before
    (folder / "src/little/more.py").write_text("")
    (folder / ".venv").mkdir()
    after = project_of(folder).digest
    (folder / ".venv/more.py").write_text("")
    assert before != after == project_of(folder).digest


def test_a_model_that_fails_ends_the_run_of_a_project(
    runner: CrewRunner, server: OpenAIServer, attempts: Attempts
) -> None:
    server.failing = 503
    run = attempts.start()
    with pytest.raises(RunStopped):
        runner.run(job_of("weathers"), run)
    failure = runner.explain(reason(run) or AssertionError())
    assert (failure.retryable, failure.outage) == (True, True)
    assert len(server.asked) == 1
