"""What is wrong with a crew's files is said with file, line and what to do; all of it at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import crewai_cli
import pytest

from crewrelay.catalogue.catalogue import Catalogue, catalogue
from crewrelay.catalogue.definition import read_definition
from crewrelay.catalogue.inputs import PLACEHOLDER
from crewrelay.catalogue.yaml_file import Faulty
from crewrelay.crews.models.models import Models
from crewrelay.crews.running import checks
from crewrelay.jobs.errors import InvalidCrew, Misconfigured
from crewrelay.settings import ModelSettings
from tests.support.crews import AGENTS, CREW, TASKS, OwnCrews

NAMED: dict[str, Any] = {"CREWRELAY_MODEL": "crewrelay/extractive"}
MODELS = Models(ModelSettings(**NAMED))
SECOND = """
again:
  description: Tell of {topic} again.
  expected_output: A tale.
  agent: teller
"""


def faults(crews: OwnCrews, **files: str) -> list[str]:
    """As they are told, without the folder."""
    folder = crews.put(**files)
    try:
        found = checks.faults_of(read_definition("tales", folder), MODELS)
    except Faulty as faulty:
        found = faulty.faults
    return [str(fault).removeprefix(f"{folder}/config/") for fault in found]


def test_nothing_is_wrong_with_the_crews_that_ship() -> None:
    shipped = Catalogue([])
    assert shipped.names() == ("research",)
    checks.refuse_broken(shipped, MODELS)


def test_nothing_is_wrong_with_the_tests_own_crew(own_crews: OwnCrews) -> None:
    """Or the tests below would tell little."""
    assert faults(own_crews) == []


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        # crew.yaml
        ("crew", CREW + "proces: sequential\n", 'crew.yaml:6: proces: is unknown here; use "process"'),
        ("crew", CREW + "process: parallel\n", "crew.yaml:6: process: must be 'sequential' or 'hierarchical'"),
        ("crew", CREW + "memory: true\n", "crew.yaml:6: memory: is not the same in the next run; remove it"),
        ("crew", CREW + "    typ: string\n", 'crew.yaml:6: inputs.topic.typ: is unknown here; use "type"'),
        ("crew", CREW + "    required: false\n",
         "crew.yaml:6: inputs.topic.required: every input is, unless it has a default; remove it, or write a default"),
        ("crew", CREW + "    minimum: 3\n",
         "crew.yaml:3: inputs.topic: minimum is for type integer or number; remove it"),
        ("crew", CREW + "    enum: [yes]\n",
         "crew.yaml:6: inputs.topic.enum.0: must be a text; put it into quotes"),
        ("crew", CREW + "    default: 5\n",
         "crew.yaml:3: inputs.topic: its default is no string; correct it, or the type"),
        ("crew", CREW + f"    example: {'x' * 21}\n", "crew.yaml:3: inputs.topic: its example or default is refused "),
        ("crew", CREW + "  1st: {}\n", "crew.yaml:6: inputs.1st: a name has letters, digits and _"),
        ("crew", CREW + "  other: {}\n", "crew.yaml:6: inputs.other: no text of the crew uses it; write {other}"),
        ("crew", CREW + "model: gpt-4o\n", "crew.yaml:6: model: 'gpt-4o' is not of the form provider/model"),
        ("crew", "description: x\n", "crew.yaml:1: inputs: is missing; add it"),
        ("crew", "description: ''\ninputs: {topic: }\n", "crew.yaml:1: description: must not be empty; write a text"),
        ("crew", "description: x\ninputs: [topic]\n", "crew.yaml:2: inputs: must be a mapping; write name: value"),
        ("crew", CREW.replace("max_length: 20", "max_length: '20'"),
         "crew.yaml:5: inputs.topic.max_length: must be a whole number; write one without quotes"),
        ("crew", "", "crew.yaml:1: must be a mapping of description, inputs, process, model"),
        # agents.yaml
        ("agents", AGENTS.replace("  goal: Tell\n", ""), "agents.yaml:1: teller.goal: is missing; add it"),
        ("agents", AGENTS.replace("Teller of tales", "{topic}"),
         "agents.yaml:2: teller.role: must be a text; put it into quotes"),
        ("agents", AGENTS.replace("Teller of tales", '"{topc}"'),
         'agents.yaml:2: teller.role: {topc} is no input of crew.yaml; use "topic", or declare it there'),
        ("agents", AGENTS + "  inject_date: true\n",
         "agents.yaml:5: teller.inject_date: puts another date into every run; remove it"),
        ("agents", AGENTS + "  max_iter: many\n", "agents.yaml:5: teller.max_iter: must be a whole number"),
        ("agents", AGENTS + "  max_iter: 0\n", "agents.yaml:5: teller.max_iter: input should be greater than 0"),
        ("agents", AGENTS + "  verbose: 'no'\n", "agents.yaml:5: teller.verbose: must be true or false; write it"),
        ("agents", AGENTS + "  tools: search_passages\n",
         "agents.yaml:5: teller.tools: must be a list; write [it], or each on a line of its own after -"),
        ("agents", AGENTS + "  tools: [serch_passages]\n",
         'agents.yaml:5: teller.tools.0: there is no tool serch_passages; use "search_passages", or add it'),
        ("agents", AGENTS + "  llm: nobody/knows\n",
         "agents.yaml:5: teller.llm: 'nobody/knows' has an unknown provider"),
        ("agents", AGENTS + "  llm: anthropic/claude\n",
         "agents.yaml:5: teller.llm: 'anthropic/claude' needs the package anthropic: pip install"),
        ("agents", AGENTS + "  llm: deepseek/chat\n",
         "agents.yaml:5: teller.llm: 'deepseek/chat' needs a key: set DEEPSEEK_API_KEY"),
        ("agents", AGENTS.replace("teller:", "on:"), 'agents.yaml:1: a name must be a text; put it into quotes, "on"'),
        ("agents", "- teller\n", "agents.yaml:1: must hold an agent or more, each under its name"),
        # tasks.yaml
        ("tasks", TASKS.replace("agent: teller", "agent: seller"),
         'tasks.yaml:4: tell.agent: there is no agent seller; use "teller"'),
        ("tasks", TASKS.replace("  agent: teller\n", ""), "tasks.yaml:1: tell.agent: is missing; name one of teller"),
        ("tasks", TASKS + "  context: [tell]\n",
         "tasks.yaml:5: tell.context.0: tell does not come before tell; move it up"),
        ("tasks", TASKS + "  context: [again]\n" + SECOND,
         "tasks.yaml:5: tell.context.0: again does not come before tell; move it up"),
        ("tasks", TASKS + SECOND + "  context:\n    - tel\n",
         'tasks.yaml:11: again.context.0: there is no task tel; use "tell"'),
        ("tasks", TASKS + "  context: [gone]\n",
         "tasks.yaml:5: tell.context.0: there is no task gone; the first task has no context; remove it"),
        ("tasks", TASKS + "  async_execution: true\n" + SECOND + "  async_execution: true\n",
         "tasks.yaml:11: again.async_execution: teller is at work on tell at that time; remove it, or name another"),
        ("tasks", TASKS + "  output_file: report.md\n",
         "tasks.yaml:5: tell.output_file: writes to a disk that is gone after the run; remove it"),
        ("tasks", TASKS + "  agent: other\n", "tasks.yaml:5: tell.agent: stands on line 4 already; remove one of them"),
        ("tasks", "tell: a tale\n", "tasks.yaml:1: tell: must be a mapping of description, expected_output, agent"),
        ("tasks", "", "tasks.yaml:1: must hold a task or more"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_file_line_and_remedy(own_crews: OwnCrews, file: str, text: str, told: str) -> None:
    (fault,) = faults(own_crews, **{file: text})
    assert fault.startswith(told)


def test_the_faults_of_all_files_are_told_at_once_by_file_and_line(own_crews: OwnCrews) -> None:
    found = faults(
        own_crews,
        crew=CREW + "process: none\n",
        agents=AGENTS + "  memory: true\n  planning: true\n",
        tasks=TASKS.replace("description: ", "describe: "),
    )
    assert [fault.split(" ")[0] for fault in found] == [
        "agents.yaml:5:", "agents.yaml:6:", "crew.yaml:6:", "tasks.yaml:1:", "tasks.yaml:2:"
    ]  # fmt: skip


def test_what_only_crewai_refuses_is_told_too(own_crews: OwnCrews) -> None:
    two = AGENTS + AGENTS.replace("teller", "other")
    tasks = TASKS + "  async_execution: true\n" + SECOND.replace("teller", "other") + "  async_execution: true\n"
    (fault,) = faults(own_crews, agents=two, tasks=tasks)
    assert fault.startswith("tasks.yaml:1: CrewAI refuses the crew: ")
    assert "asynchronous task" in fault


@pytest.mark.parametrize(
    ("template", "refused"), [("crew", []), ("flow/crews/content_crew", ["editing_task.output_file"])]
)
def test_the_files_of_crewais_own_templates_can_be_brought_along(
    own_crews: OwnCrews, template: str, refused: list[str]
) -> None:
    place = Path(crewai_cli.__file__).parent / "templates" / template / "config"
    agents, tasks = ((place / f"{name}.yaml").read_text() for name in ("agents", "tasks"))
    inputs = dict.fromkeys(PLACEHOLDER.findall(agents + tasks))
    crew = f"description: x\ninputs: {{{', '.join(f'{name}: ' for name in inputs)}}}\n"
    found = faults(own_crews, crew=crew, agents=agents, tasks=tasks)
    assert [fault.split(": ")[1] for fault in found] == refused


def test_an_input_may_be_no_more_than_a_name(own_crews: OwnCrews) -> None:
    assert faults(own_crews, crew="description: x\ninputs:\n  topic:\n") == []


def test_what_is_switched_off_or_left_empty_does_no_harm(own_crews: OwnCrews) -> None:
    assert (
        faults(own_crews, agents=AGENTS + "  memory: false\n", tasks=TASKS + "  human_input: false\n  tools:\n") == []
    )


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_of_the_kind\n", "tools.py:1: ModuleNotFoundError: No module named 'nothing_of_the_kind'; "),
        ("\ndef broken(:\n", "tools.py:2: SyntaxError"),
        ("\n\ndef rhyme(word: str) -> str:\n    return word\n", "tools.py:3: rhyme is no tool: Function must have a"),
        ("def search_passages():\n    pass\ndef rhyme(a: str) -> str:\n    'Rhymes.'\n",
         "tools.py:1: search_passages is the name of the search; rename the tool"),
        ("from math import sqrt as rhyme\n", "config/agents.yaml:5: teller.tools.0: there is no tool rhyme; "),
    ],
)  # fmt: skip
def test_a_tool_that_is_none_is_told_with_its_line(own_crews: OwnCrews, code: str, told: str) -> None:
    folder = own_crews.put("tool-less", agents=AGENTS + "  tools: [rhyme]\n")
    (folder / "tools.py").write_text(code)
    (fault,) = checks.faults_of(read_definition("tool-less", folder), MODELS)
    assert str(fault).removeprefix(f"{folder}/").startswith(told)


# ---- the catalogue


def test_crews_are_found_in_folders_and_by_themselves(own_crews: OwnCrews, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        own_crews.put(name)
    (own_crews.folder / "no-crew").mkdir()
    assert catalogue().names() == ("one", "research", "two")
    monkeypatch.setenv("CREWRELAY_CREWS", f"{own_crews.folder / 'one'}:")
    catalogue.cache_clear()
    assert catalogue().names() == ("one", "research")


def test_without_a_setting_the_folder_crews_is_looked_into(
    own_crews: OwnCrews, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_crews.put("one")
    monkeypatch.delenv("CREWRELAY_CREWS")
    monkeypatch.chdir(own_crews.folder.parent)
    assert catalogue().names() == ("one", "research")
    monkeypatch.chdir("/")
    catalogue.cache_clear()
    assert catalogue().names() == ("research",)


def gone(crews: OwnCrews) -> None:
    crews.folder.rmdir()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda crews: crews.put("research"), "both named research: rename one"),
        (lambda crews: crews.put("My Crew"), "My Crew: a crew's name has small letters"),
        (gone, "CREWRELAY_CREWS: there is no folder "),
    ],
)
def test_a_catalogue_that_is_not_clear_is_refused(
    own_crews: OwnCrews, change: Callable[[OwnCrews], object], told: str
) -> None:
    change(own_crews)
    with pytest.raises(Misconfigured, match=told):
        catalogue()


def test_a_broken_crew_hides_no_other_and_all_of_them_are_told(own_crews: OwnCrews) -> None:
    own_crews.put("one", tasks="")
    own_crews.put("two", agents=AGENTS + "  llm: x\n")
    own_crews.put("fine")
    assert catalogue().card("fine").name == "fine"
    with pytest.raises(InvalidCrew) as refused:
        checks.refuse_broken(catalogue(), MODELS)
    assert [line.split(": ")[0].rpartition("crews/")[2] for line in str(refused.value).splitlines()] == [
        "one/config/tasks.yaml:1", "two/config/agents.yaml:5"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["config/tasks.yaml", "config/crew.yaml", "tools.py", "more.py"])
def test_every_file_of_a_crew_is_in_its_digest(own_crews: OwnCrews, name: str) -> None:
    folder = own_crews.put()
    before = read_definition("tales", folder).digest
    assert read_definition("tales", folder).digest == before
    with (folder / name).open("a") as file:
        file.write("# more\n")
    assert read_definition("tales", folder).digest != before


def test_a_crew_is_read_once_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    locked: list[bool] = []

    def reading(name: str, folder: Path) -> str:
        locked.append(crews._reading.locked())
        return name

    monkeypatch.setattr("crewrelay.catalogue.catalogue.read_card", reading)
    crews = Catalogue([])
    for _ in range(2):
        crews.card("research")
    assert locked == [True]
