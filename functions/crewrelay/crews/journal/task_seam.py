"""Tells the run when a task begins and ends, whoever built its crew: see ambient.py."""

from typing import Any

from crewai.task import Task

from crewrelay.crews.journal.ambient import journal_for
from crewrelay.jobs.ports import Calls

_execute: Any = Task._execute_core
_aexecute: Any = Task._aexecute_core


def execute(task: Task, agent: Any, context: Any, tools: Any) -> Any:
    calls = _begun(task, agent)
    output = _execute(task, agent, context, tools)
    if calls:
        calls.end_task()
    return output


async def aexecute(task: Task, agent: Any, context: Any, tools: Any) -> Any:
    calls = _begun(task, agent)
    output = await _aexecute(task, agent, context, tools)
    if calls:
        calls.end_task()
    return output


def _begun(task: Task, agent: Any) -> Calls | None:
    """Its number is that among the tasks of its crew; 1 of 1 where that is not known, as for delegated work."""
    journal = journal_for("a task")
    if journal is None:
        return None
    member = task.agent or agent
    tasks = list(getattr(getattr(member, "crew", None), "tasks", None) or [task])
    number = next((place for place, one in enumerate(tasks, 1) if one is task), 0)
    name = task.name or task.description.strip().partition("\n")[0]
    role = str(getattr(member, "role", "")).strip()
    journal.calls.begin_task(name, role, number or 1, len(tasks) if number else 1)
    return journal.calls
