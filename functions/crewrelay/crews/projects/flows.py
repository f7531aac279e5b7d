"""Builds a project's flow, of Python or declared, and runs it for one job."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crewai.crews.crew_output import CrewOutput
from crewai.flow.flow import Flow
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from crewrelay.catalogue.project import Project
from crewrelay.crews.journal.ambient import journal_for
from crewrelay.crews.projects.code import building, chosen
from crewrelay.crews.projects.import_paths import make_importable

_makers: dict[Path, Callable[[], Any]] = {}


def new_flow(project: Project) -> Flow[Any]:
    """Raises Faulty."""
    home = project.folder.resolve()
    if home not in _makers:
        _makers[home] = _declared(project) if project.definition else _of_python(project)
    flow: Flow[Any] = building(project, _makers[home])
    flow.stream = False  # it has no reader
    return flow


def _declared(project: Project) -> Callable[[], Any]:
    make_importable(project)
    return lambda: Flow.from_declaration(path=project.definition)


def _of_python(project: Project) -> Callable[[], Flow[Any]]:
    make: Callable[[], Flow[Any]] = chosen(
        project,
        str(project.target),
        lambda value: isinstance(value, type) and issubclass(value, Flow) and value is not Flow,
        "that derive from Flow",
        "flow",
    )
    return make


def result_of(flow: Flow[Any], inputs: Mapping[str, Any]) -> str:
    """What its last step returns; if that is nothing, its state without the id, which is the job's."""
    if journal := journal_for("a flow"):
        flow._stamp_state_id(journal.calls.job_id)
    begins_with = _state_of(flow)
    # With inputs CrewAI checks the whole state, also defaults that are not of their type, such as `plan: Plan = None`.
    changed = {name: value for name, value in inputs.items() if name not in begins_with or begins_with[name] != value}
    output = flow.kickoff(inputs=changed or None)
    if output is not None:
        return _text(output)
    return _text({name: value for name, value in _state_of(flow).items() if name != "id"})


def _state_of(flow: Flow[Any]) -> dict[str, Any]:
    state: dict[str, Any] = to_jsonable_python(flow._copy_and_serialize_state(), fallback=str)
    return state


def _text(output: Any) -> str:
    if isinstance(output, CrewOutput):
        return str(output.raw)
    if isinstance(output, str):
        return output
    value = output.model_dump(mode="json") if isinstance(output, BaseModel) else output
    return json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)
