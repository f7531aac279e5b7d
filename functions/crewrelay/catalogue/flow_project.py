"""The flow of a project, read as data: which class or file it is, and the schema of its state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from crewrelay.catalogue.project_files import line_of, read_yaml
from crewrelay.catalogue.python_state import FlowClass, PythonCode
from crewrelay.catalogue.yaml_file import Fault, Faulty


class FlowFound(NamedTuple):
    """`target` is its class, as module:Class; a declarative flow has a `definition` instead. `state` is a JSON schema;
    None if it is a dict, which takes any names.
    """

    target: str | None
    definition: Path | None
    state: dict[str, Any] | None
    defaults: Mapping[str, Any]


def find_flow(pyproject: Path, data: Mapping[str, Any], named: str | None) -> FlowFound:
    """Raises Faulty."""
    folder = pyproject.parent
    definition = data.get("tool", {}).get("crewai", {}).get("definition")
    if definition is not None and named is None:
        return _declared(pyproject, folder / str(definition))
    code = PythonCode(folder / "src")
    flow = _chosen(pyproject, code, named, str(data.get("project", {}).get("scripts", {}).get("kickoff", "")))
    return FlowFound(flow.target, None, flow.state, {})


def _chosen(pyproject: Path, code: PythonCode, named: str | None, kickoff: str) -> FlowClass:
    """The class that is named, else the only one, else the one that the project's kickoff script makes."""
    flows = code.flows()
    for found in (
        [flow for flow in flows if named in (None, flow.target)],
        [flow for flow in flows if named is None and flow.name in code.started_by(kickoff)],
    ):
        if len(found) == 1:
            return found[0]
    known = ", ".join(flow.target for flow in flows) or "none"
    what = f"it has {len(flows)} flows ({known}) and none that is named {named}" if named else f"its flows are {known}"
    raise Faulty(Fault(pyproject, line_of(pyproject, r"(?m)^flow\s*=|^\[tool\.crewai"), f"{what}; {_remedy(flows)}"))


def _remedy(flows: list[FlowClass]) -> str:
    if not flows:
        return "write a class that derives from Flow[State] into src/*/main.py"
    return f'name one, [tool.crewrelay] flow = "{flows[0].target}"'


def _declared(pyproject: Path, path: Path) -> FlowFound:
    folder = pyproject.parent
    if not path.resolve().is_relative_to(folder.resolve()):
        what = "its definition is outside of the project; move it into the project"
        raise Faulty(Fault(pyproject, line_of(pyproject, r"(?m)^definition\s*="), what))
    flow = read_yaml(path)
    state = flow.get("state") if isinstance(flow, dict) else None
    if not isinstance(flow, dict) or not isinstance(state, dict | None):
        raise Faulty(Fault(path, 1, "it is no crewai.flow/v1; see `crewai create flow --declarative`"))
    state = state or {}
    reference = state.get("ref")
    schema = PythonCode(folder / "src").schema(reference) if isinstance(reference, str) else None
    schema = schema or (state.get("json_schema") if isinstance(state.get("json_schema"), dict) else None)
    defaults = state.get("default")
    return FlowFound(None, path, schema, defaults if isinstance(defaults, dict) else {})
