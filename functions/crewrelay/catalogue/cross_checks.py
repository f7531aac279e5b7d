"""Checks across a crew's files: names refer to something, and placeholders are inputs."""

from collections.abc import Iterator

from crewrelay.catalogue.definition import SEARCH, Definition
from crewrelay.catalogue.inputs import PLACEHOLDER
from crewrelay.catalogue.yaml_file import Fault, YamlFile, nearest

_AGENTS_TEXTS = ("role", "goal", "backstory")
_TASKS_TEXTS = ("description", "expected_output")


def faults(definition: Definition, own_tools: frozenset[str]) -> Iterator[Fault]:
    """`own_tools` are the names in the crew's tools.py."""
    yield from _agents_of_tasks(definition)
    yield from _contexts(definition)
    yield from _concurrent_tasks(definition)
    yield from _tools(definition, own_tools)
    yield from _placeholders(definition)


def _agents_of_tasks(definition: Definition) -> Iterator[Fault]:
    file, known = definition.tasks_file, definition.agents
    for name, task in definition.tasks.items():
        if task.agent is None and definition.card.crew.process == "sequential":
            yield file.fault((name, "agent"), f"is missing; name one of {', '.join(known)}")
        if task.agent is not None and task.agent not in known:
            yield file.fault((name, "agent"), f"there is no agent {task.agent}; {nearest(task.agent, known)}")


def _contexts(definition: Definition) -> Iterator[Fault]:
    earlier: list[str] = []
    for name, task in definition.tasks.items():
        for index, other in enumerate(task.context or ()):
            where = (name, "context", index)
            if other in definition.tasks and other not in earlier:
                yield definition.tasks_file.fault(where, f"{other} does not come before {name}; move it up")
            elif other not in earlier:
                remedy = nearest(other, earlier) if earlier else "the first task has no context; remove it"
                yield definition.tasks_file.fault(where, f"there is no task {other}; {remedy}")
        earlier.append(name)


def _concurrent_tasks(definition: Definition) -> Iterator[Fault]:
    """An agent of CrewAI can't work on two asynchronous tasks at once; a synchronous task waits for those before it."""
    busy: dict[str | None, str] = {}
    for name, task in definition.tasks.items():
        who = task.agent if definition.card.crew.process == "sequential" else None  # the manager
        if not task.async_execution:
            busy.clear()
        elif who in busy:
            what = f"{who or 'the manager'} is at work on {busy[who]} at that time; remove it, or name another agent"
            yield definition.tasks_file.fault((name, "async_execution"), what)
        else:
            busy[who] = name


def _tools(definition: Definition, own_tools: frozenset[str]) -> Iterator[Fault]:
    known = own_tools | {SEARCH}
    if SEARCH in own_tools:
        yield Fault(definition.card.folder / "tools.py", 1, f"{SEARCH} is the name of the search; rename the tool")
    parts = ((definition.agents_file, definition.agents), (definition.tasks_file, definition.tasks))
    for file, named in parts:
        for name, part in named.items():
            for index, tool in enumerate(part.tools):
                if tool not in known:
                    yield file.fault(
                        (name, "tools", index),
                        f"there is no tool {tool}; {nearest(tool, known)}, or add it to tools.py",
                    )


def _placeholders(definition: Definition) -> Iterator[Fault]:
    used: set[str] = set()
    declared = definition.card.crew.inputs
    for file, where, text in _texts(definition):
        for name in dict.fromkeys(PLACEHOLDER.findall(text)):
            used.add(name)
            if name not in declared:
                yield file.fault(
                    where, f"{{{name}}} is no input of crew.yaml; {nearest(name, declared)}, or declare it there"
                )
    for name in declared:
        if name not in used:
            yield definition.card.file.fault(
                ("inputs", name), f"no text of the crew uses it; write {{{name}}} where it belongs, or remove it"
            )


def _texts(definition: Definition) -> Iterator[tuple[YamlFile, tuple[str, str], str]]:
    parts = (
        (definition.agents_file, definition.agents, _AGENTS_TEXTS),
        (definition.tasks_file, definition.tasks, _TASKS_TEXTS),
    )
    for file, named, texts in parts:
        for name, part in named.items():
            for text in texts:
                yield file, (name, text), getattr(part, text)
