"""Reads the flows of a project from its Python code, without importing it: classes, and the schema of their state.

A class that is not found in the project, or an annotation that is not known, becomes a schema that allows anything: the
flow checks its state itself.
"""

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

_TYPES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "dict": {"type": "object"},
    "Dict": {"type": "object"},
    "datetime": {"type": "string"},
    "date": {"type": "string"},
    "UUID": {"type": "string"},
}
_LISTS = ("list", "List", "Sequence", "Iterable", "set", "Set", "frozenset", "tuple", "Tuple")
_FIELD = {"description": "description", "max_length": "maxLength", "ge": "minimum", "le": "maximum"}
_PAYLOAD = "crewai_trigger_payload"
_DEEPEST = 10  # classes that derive from each other, and imports of an import


class FlowClass(NamedTuple):
    """`state` is a JSON schema; None if the state is a dict."""

    module: str
    name: str
    path: Path
    line: int
    state: dict[str, Any] | None

    @property
    def target(self) -> str:
        return f"{self.module}:{self.name}"


class _Class(NamedTuple):
    module: str
    node: ast.ClassDef


_Seen = tuple[_Class, ...]  # the classes that the one that is read is a part of


class PythonCode:
    """The modules of a project's src folder. A file that can't be parsed is left out: importing it tells why."""

    def __init__(self, src: Path) -> None:
        self._src = src

    @cached_property
    def _modules(self) -> dict[str, ast.Module]:
        found = {}
        for path in sorted(self._src.rglob("*.py")):
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                continue
            parts = path.relative_to(self._src).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = tree
        return found

    def flows(self) -> list[FlowClass]:
        """All classes that derive from Flow."""
        classes = [
            _Class(name, node)
            for name, tree in self._modules.items()
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        ]
        return [flow for one in classes if (flow := self._flow(one, 0)) is not None]

    def started_by(self, target: str) -> set[str]:
        """The names that the function module:function calls, as a project's `kickoff` does its flow."""
        module, _, name = target.partition(":")
        tree = self._modules.get(module)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
        bodies = [node for node in functions if node.name == name]
        return {_name(call.func) for node in bodies for call in ast.walk(node) if isinstance(call, ast.Call)}

    def schema(self, target: str) -> dict[str, Any] | None:
        """The schema of the model module:Class; None if it is not in the project."""
        module, _, name = target.partition(":")
        found = self._class(module, name)
        return self._model(found, ()) if found else None

    def _flow(self, one: _Class, depth: int) -> FlowClass | None:
        for base in one.node.bases if depth < _DEEPEST else ():
            generic = base.value if isinstance(base, ast.Subscript) else base
            if _name(generic) == "Flow":
                given = self._annotated(base.slice, one.module, ()) if isinstance(base, ast.Subscript) else {}
                return self._of(one, given if "properties" in given else None)
            parent = self._class(one.module, _name(generic))
            if parent and (flow := self._flow(parent, depth + 1)):
                return self._of(one, flow.state)
        return None

    def _of(self, one: _Class, state: dict[str, Any] | None) -> FlowClass:
        functions = [node for node in one.node.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        steps = [node for node in functions if any(map(_is_step, node.decorator_list))]
        if state is not None and any(argument.arg == _PAYLOAD for step in steps for argument in step.args.args):
            properties = {name: one for name, one in state["properties"].items() if name != "id"}
            state = {**state, "properties": {**properties, _PAYLOAD: {"type": "object"}}}
        path = next(path for path in self._files(one.module) if path.is_file())
        return FlowClass(one.module, one.node.name, path, one.node.lineno, state)

    def _files(self, module: str) -> Iterator[Path]:
        base = self._src.joinpath(*module.split("."))
        yield from (base.with_suffix(".py"), base / "__init__.py")

    def _class(self, module: str, name: str, depth: int = 0) -> _Class | None:
        """The class that the name stands for in the module, which may import it."""
        for node in self._modules[module].body if module in self._modules and depth < _DEEPEST else ():
            if isinstance(node, ast.ClassDef) and node.name == name:
                return _Class(module, node)
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self._class(self._imported(module, node), alias.name, depth + 1)
        return None

    def _imported(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            name, beside = str(node.module), f"{module.rpartition('.')[0]}.{node.module}"
            return beside if beside in self._modules and name not in self._modules else name
        is_package = (self._src.joinpath(*module.split(".")) / "__init__.py").is_file()
        parts = module.split(".")
        parts = parts[: len(parts) - node.level + is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def _annotated(self, node: ast.expr, module: str, seen: _Seen) -> dict[str, Any]:
        """The schema of an annotation."""
        match node:
            case ast.Constant(value=None):
                return {"type": "null"}
            case ast.Constant(value=str(text)):
                return self._annotated(ast.parse(text, mode="eval").body, module, seen)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return {"anyOf": [self._annotated(one, module, seen) for one in (left, right)]}
            case ast.Subscript():
                return self._generic(node, module, seen)
            case ast.Name() | ast.Attribute() if (name := _name(node)) in _TYPES:
                return dict(_TYPES[name])
            case ast.Name() | ast.Attribute() if _name(node) in _LISTS:
                return {"type": "array"}
            case ast.Name() | ast.Attribute() if found := self._class(module, _name(node)):
                return self._model(found, seen)
        return {}

    def _generic(self, node: ast.Subscript, module: str, seen: _Seen) -> dict[str, Any]:
        given = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        name = _name(node.value)
        if name == "Literal":
            return {"enum": [one.value for one in given if isinstance(one, ast.Constant)]}
        schemas = [self._annotated(one, module, seen) for one in given[: 1 if name == "Annotated" else None]]
        if name == "Annotated":
            return schemas[0]
        if name in ("Optional", "Union"):
            return {"anyOf": [*schemas, *([{"type": "null"}] if name == "Optional" else [])]}
        if name in _LISTS:
            return {"type": "array", "items": schemas[0] if name not in ("tuple", "Tuple") else {}}
        return dict(_TYPES.get(name, {}))

    def _model(self, one: _Class, seen: _Seen) -> dict[str, Any]:
        if one in seen:
            return {}
        bases, seen = [_name(base) for base in one.node.bases], (*seen, one)
        if any(base.endswith("Enum") for base in bases):
            assigned = [node.value for node in one.node.body if isinstance(node, ast.Assign)]
            return {"enum": [value.value for value in assigned if isinstance(value, ast.Constant)]}
        parents = [self._class(one.module, base) for base in bases]
        schemas = [self._model(parent, seen) for parent in parents if parent]
        known = [schema for schema in schemas if "properties" in schema]
        if not known and not {"BaseModel", "FlowState"} & set(bases):
            return {}
        properties = {name: schema for parent in known for name, schema in parent["properties"].items()}
        required = {name for parent in known for name in parent["required"]}
        for node in one.node.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_field(node):
                schema, has_default = self._field(node, one.module, seen)
                properties[node.target.id] = schema
                required = required - {node.target.id} if has_default else required | {node.target.id}
        return {"type": "object", "properties": properties, "required": sorted(required)}

    def _field(self, node: ast.AnnAssign, module: str, seen: _Seen) -> tuple[dict[str, Any], bool]:
        schema, given = self._annotated(node.annotation, module, seen), node.value
        if not isinstance(given, ast.Call) or _name(given.func) != "Field":
            return schema | _default(given), given is not None
        named = {keyword.arg: keyword.value for keyword in given.keywords}
        default = given.args[0] if given.args else named.get("default")
        for theirs, ours in _FIELD.items():
            if isinstance(value := named.get(theirs), ast.Constant):
                schema[ours] = value.value
        has_default = "default_factory" in named or (
            default is not None and not (isinstance(default, ast.Constant) and default.value is ...)
        )
        return schema | (_default(default) if has_default else {}), has_default


def _default(node: ast.expr | None) -> dict[str, Any]:
    try:
        return {} if node is None else {"default": ast.literal_eval(node)}
    except ValueError:
        return {}


def _is_field(node: ast.AnnAssign) -> bool:
    assert isinstance(node.target, ast.Name)
    annotation = node.annotation.value if isinstance(node.annotation, ast.Subscript) else node.annotation
    return node.target.id[0] != "_" and node.target.id != "model_config" and _name(annotation) != "ClassVar"


def _is_step(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return _name(called) in ("start", "listen", "router")


def _name(node: ast.AST) -> str:
    """The last part of a dotted name; "" for another expression."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
