"""Every small fault that can be put into a source file: a comparison turned round, a condition gone, a statement,
keyword, key, lock or handler left out, a number or name that is another one.

Not touched: what is only read by people (docstrings, log lines, prose) and annotations.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_UNTOUCHED_FIELDS = {"annotation", "returns", "format_spec", "ctx", "bases"}
_UNTOUCHED_CALLS = {"TypeVar", "getLogger", "cast"}
_LARGE = 10  # numbers from there on are limits and durations: made ten times as large, others one larger


class Place(NamedTuple):
    """Where a node hangs in its tree."""

    parent: ast.AST
    field: str
    number: int | None


class Mutant(NamedTuple):
    """One fault: `node` at `place`. `last_line` is where the statement ends that it is in."""

    path: Path
    scope: str
    line: int
    last_line: int
    in_function: bool
    old: str
    new: str
    place: Place
    node: ast.AST | None

    @property
    def name(self) -> str:
        return f"{self.path.name} {self.scope}: {self.old} → {self.new}"


class _Context(NamedTuple):
    path: Path
    scope: str = ""
    in_function: bool = False
    statement: ast.stmt | None = None


def mutants_of(path: Path, tree: ast.Module) -> list[Mutant]:
    return list(_inside(tree, _Context(path)))


def _inside(node: ast.AST, context: _Context) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(node):
        if field in _UNTOUCHED_FIELDS:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_for_people(child) or (index == 0 and _is_docstring(node, child)):
                continue
            inner = _entered(child, context)
            place = Place(node, field, index)
            for at, new in _faults(child, place, context.in_function):
                yield _described(at, new, child, inner)
            if not isinstance(child, ast.JoinedStr):
                yield from _inside(child, inner)
            else:
                for part in child.values:
                    if isinstance(part, ast.FormattedValue):
                        yield from _inside(part, inner)


def _entered(node: ast.AST, context: _Context) -> _Context:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        scope = f"{context.scope}.{node.name}".lstrip(".")
        context = context._replace(scope=scope)
    if isinstance(node, ast.stmt):
        context = context._replace(statement=node)
    if isinstance(node, ast.arguments):  # their defaults are made when the function is
        return context._replace(in_function=False)
    return context._replace(in_function=context.in_function or isinstance(node, ast.FunctionDef | ast.Lambda))


def _is_docstring(parent: ast.AST, node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_for_people(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert):
        return True
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Expr | ast.Return | ast.Assign) and isinstance(node.value, ast.Call):
        node = node.value
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id == "logger" or function.attr in _UNTOUCHED_CALLS
    return isinstance(function, ast.Name) and function.id in _UNTOUCHED_CALLS


def _faults(node: ast.AST, place: Place, in_function: bool) -> Iterator[tuple[Place, ast.AST | None]]:
    """What may stand in the node's place, or elsewhere in it."""
    match node:
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                for other in _COMPARISONS[type(operator)]:
                    yield Place(node, "ops", index), other()
        case ast.BoolOp(values=values):
            for index in range(len(values)):
                rest = [value for at, value in enumerate(values) if at != index]
                yield place, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield place, operand
        case ast.BinOp(op=ast.BitOr(), left=left) if in_function:
            yield place, left
        case ast.BinOp(op=operator) if type(operator) in _ARITHMETIC:
            yield Place(node, "op", None), _ARITHMETIC[type(operator)]()
        case ast.Constant(value=value):
            yield from ((place, ast.Constant(other)) for other in _other_values(value))
        case ast.If(test=test) | ast.IfExp(test=test):
            yield from ((Place(node, "test", None), ast.Constant(answer)) for answer in (True, False))
        case ast.While(test=test) if not isinstance(test, ast.Constant):
            yield Place(node, "test", None), ast.Constant(False)
        case ast.comprehension(ifs=conditions):
            for index in range(len(conditions)):
                yield Place(node, "ifs", index), ast.Constant(True)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield place, ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.YieldFrom()) | ast.Raise() | ast.Delete():
            yield place, ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield place, ast.Pass()
        case ast.AugAssign(op=operator):
            yield place, ast.Pass()
            yield Place(node, "op", None), _ARITHMETIC.get(type(operator), ast.Sub)()
        case ast.Break():
            yield place, ast.Continue()
        case ast.Continue():
            yield place, ast.Break()
        case ast.With(body=body):
            yield place, ast.If(ast.Constant(True), body, [])
        case ast.ExceptHandler(type=ast.Tuple(elts=types) as caught):
            yield from ((Place(caught, "elts", index), None) for index in range(len(types)))
        case ast.ExceptHandler(type=ast.expr()):
            yield Place(node, "type", None), ast.Tuple([], ast.Load())
        case ast.Try(finalbody=[_, *_]):
            yield place, ast.If(ast.Constant(True), node.body + node.finalbody, [])
        case ast.Dict(keys=keys, values=values):
            for index in range(len(keys)):
                yield place, ast.Dict(keys[:index] + keys[index + 1 :], values[:index] + values[index + 1 :])
        case ast.Call(func=function, keywords=keywords):
            if isinstance(function, ast.Name) and function.id in _TWINS:
                yield Place(node, "func", None), ast.Name(_TWINS[function.id], ast.Load())
            yield from ((Place(node, "keywords", index), None) for index, word in enumerate(keywords) if word.arg)


def _other_values(value: object) -> list[bool | int | float | str]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value * 10 if value >= _LARGE else value + 1]
    if isinstance(value, str) and not value.count(" "):
        return [value + "X"]
    return []


def _described(place: Place, new: ast.AST | None, node: ast.AST, context: _Context) -> Mutant:
    assert context.statement
    shown = node if isinstance(node, ast.expr | ast.stmt | ast.ExceptHandler | ast.comprehension) else context.statement
    old = _shown(shown)
    told = _shown(new) if new and place.parent is not node and isinstance(new, ast.expr | ast.stmt) else None
    if told is None:
        with put(place, new):
            told = _shown(shown)
    line = getattr(node, "lineno", context.statement.lineno)
    body = getattr(node, "body", None)
    last_line = body[0].lineno - 1 if isinstance(body, list) else getattr(node, "end_lineno", line)
    return Mutant(context.path, context.scope, line, max(line, last_line), context.in_function, old, told, place, new)


@contextmanager
def put(place: Place, node: ast.AST | None) -> Iterator[None]:
    """The fault in its tree, until the block ends."""
    before = getattr(place.parent, place.field)
    if place.number is None:
        setattr(place.parent, place.field, node)
    else:
        after = [*before[: place.number], *filter(None, [node]), *before[place.number + 1 :]]
        setattr(place.parent, place.field, after)
    try:
        yield
    finally:
        setattr(place.parent, place.field, before)


def _shown(node: ast.AST) -> str:
    """In one line: of a statement its first."""
    text = ast.unparse(ast.fix_missing_locations(node)).strip()
    lines = text.splitlines() if isinstance(node, ast.stmt | ast.ExceptHandler) else [text]
    return " ".join(lines[0].split())
