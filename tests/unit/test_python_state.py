"""The state of a flow, read from its code and from its schema without importing it: what CrewAI itself makes of it."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from crewrelay.catalogue.inputs import Inputs
from crewrelay.catalogue.json_schema import inputs_of
from crewrelay.catalogue.python_state import PythonCode

TYPES = """
from enum import Enum
from typing import Literal
from pydantic import BaseModel

class Tone(str, Enum):
    DRY = "dry"
    WARM = "warm"

class Base(BaseModel):
    id: str = ""
    title: str

class Chapter(Base):
    pages: int = 1
    inner: "list[Chapter]" = []
    length: Literal["short", "long"] = "short"
"""
MAIN = """
import typing
from typing import Annotated, Any, ClassVar, Dict, List, Optional, Union
from crewai.flow.flow import Flow, listen, start
from pydantic import BaseModel, Field, ConfigDict
from .types import Chapter as One, Tone

class State(BaseModel):
    model_config = ConfigDict(extra="ignore")
    LIMIT: ClassVar[int] = 3
    topic: str = Field(default="ants", description="What of", max_length=20)
    count: int = Field(1, ge=1, le=9)
    share: float = 0.5
    draft: bool = False
    tone: Tone = Tone.DRY
    maybe: Optional[str] = None
    other: str | None = "x"
    either: Union[int, str] = 1
    chapters: List[One] = []
    table: Dict[str, Any] = Field(default_factory=dict)
    made: typing.List[str] = Field(default_factory=lambda: ["a"])
    noted: Annotated[str, "a note"] = ""
    chapter: One = One(title="t")
    _hidden: int = 1

class Parent(Flow[State]):
    @start()
    def begin(self):
        return "done"

class Child(Parent):
    @listen("begin")
    def end(self, result):
        pass

class Loose(Flow):
    @start()
    def begin(self, crewai_trigger_payload: dict = None):
        pass

def kickoff():
    Child().kickoff()
"""


@pytest.fixture(scope="module")
def src(tmp_path_factory: pytest.TempPathFactory) -> Path:
    src = tmp_path_factory.mktemp("states") / "src"
    (src / "stated").mkdir(parents=True)
    (src / "stated/__init__.py").write_text("")
    (src / "stated/types.py").write_text(TYPES)
    (src / "stated/main.py").write_text(MAIN)
    (src / "stated/broken.py").write_text("class (")
    return src


@pytest.fixture(scope="module")
def state(src: Path) -> dict[str, Any]:
    return next(flow.state for flow in PythonCode(src).flows() if flow.name == "Child") or {}


def test_the_flows_are_found(src: Path) -> None:
    found = {flow.name: (flow.target, flow.state is None) for flow in PythonCode(src).flows()}
    assert found == {
        "Parent": ("stated.main:Parent", False),
        "Child": ("stated.main:Child", False),
        "Loose": ("stated.main:Loose", True),
    }
    assert PythonCode(src).started_by("stated.main:kickoff") >= {"Child"}


def test_the_state_is_read_as_pydantic_has_it(
    src: Path, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the code and from pydantic's own schema, the same inputs."""
    monkeypatch.syspath_prepend(src)
    known = importlib.import_module("stated.main").State.model_json_schema()
    read, expected = (Inputs(inputs_of(schema)).json_schema() for schema in (state, known))
    del sys.modules["stated.main"]
    for name in ("tone", "chapter", "made"):  # defaults that are no literals
        expected["properties"][name].pop("default", None)
        read["properties"][name].pop("default", None)
    assert read == expected


GIVEN: dict[str, Any] = {
    "topic": "bees",
    "share": 1,
    "maybe": None,
    "chapters": [{"title": "One", "inner": [{"title": "Deep", "anything": [1]}], "length": "long"}],
    "table": {"a": {"b": [1, None, 2.5]}},
}


def test_nested_values_are_taken(state: dict[str, Any]) -> None:
    checked: dict[str, Any] = Inputs(inputs_of(state)).check(GIVEN)
    (chapter,) = checked.pop("chapters")
    assert chapter == {"id": "", "pages": 1, **GIVEN["chapters"][0]}
    assert {**checked, **GIVEN} == {**checked, "chapters": GIVEN["chapters"]}
    assert "tone" not in checked  # the flow has its own
    assert json.loads(json.dumps(checked)) == checked


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"chapters": [{"pages": 1}]}, ("chapters", 0, "title")),
        ({"chapters": [{"title": "a", "colour": 1}]}, ("chapters", 0, "colour")),
        ({"chapters": [{"title": "a", "length": "wide"}]}, ("chapters", 0, "length")),
        ({"chapters": [{"title": "a"}] * 1001}, ("chapters",)),
        ({"topic": None}, ("topic",)),
        ({"tone": "loud"}, ("tone",)),
        ({"table": {"a": "\x00"}}, ("table",)),
        ({"table": {"a": "x" * 50_001}}, ("table",)),
        ({"table": {str(number): 1 for number in range(201)}}, ("table",)),
        ({"table": {"a": [[[[[[[[[[[1]]]]]]]]]]]}}, ("table",)),
        ({"table": {"a": float("nan")}}, ("table",)),
        ({"share": float("inf")}, ("share",)),
        ({"noted": "a\x1bb"}, ("noted",)),
        ({"unknown": 1}, ("unknown",)),
    ],
)
def test_what_is_not_of_the_state_is_refused_by_its_place(
    state: dict[str, Any], given: dict[str, Any], place: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Inputs(inputs_of(state)).check(given)
    assert [error["loc"][: len(place)] for error in caught.value.errors()] == [place]


def test_several_lines_are_a_text_of_a_state(state: dict[str, Any]) -> None:
    assert Inputs(inputs_of(state)).check({"noted": "a\n\tb"})["noted"] == "a\n\tb"


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {
        "properties": {"tree": {"$ref": "#/$defs/Tree"}, "gone": {"$ref": "#/$defs/Gone"}, "odd": True},
        "$defs": {
            "Tree": {"type": "object", "properties": {"leaves": {"items": {"$ref": "#/$defs/Tree"}, "type": "array"}}}
        },
    }
    inputs = Inputs(inputs_of(schema))
    assert inputs.check({"tree": {"leaves": [{"any": 1}]}, "gone": 1, "odd": None}) == {
        "tree": {"leaves": [{"any": 1}]},
        "gone": 1,
        "odd": None,
    }
