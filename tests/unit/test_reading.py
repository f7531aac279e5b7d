"""What CrewAI reads in a model's reply is what its own patterns found, and no reply keeps it longer than its length."""

import asyncio
import contextlib
import re
import time
from datetime import timedelta
from typing import Any

import crewai.agents.constants as constants
import crewai.agents.parser as parser
import crewai.llms.base_llm as base_llm
import crewai.utilities.converter as converter
import pytest
from crewai.tools.tool_usage import ToolUsage
from hypothesis import given, settings
from hypothesis import strategies as st

from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.journal.replies import LONGEST, decoded, encoded
from crewrelay.crews.models.reading import summary_of
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.records.answer import Passage
from crewrelay.jobs.records.job import JobInput
from crewrelay.testing import Unjournaled
from tests.support.doubles.crew import ScriptedModel
from tests.support.fixtures import Figure

ITS_OWN = {name: getattr(constants, name) for name in ("ACTION_REGEX", "ACTION_INPUT_ONLY_REGEX", "ACTION_INPUT_REGEX")}
BRACES = re.compile(r"({.*})", re.DOTALL)
REPLIES = st.lists(
    st.sampled_from(["Action", "Input", ":", " ", "\n", "1", "x", "Thought: x", "Final Answer:", "{", "}", "```", "*"]),
    max_size=12,
).map("".join)


@pytest.fixture(scope="module", autouse=True)
def _tuned() -> None:
    tune_crewai()


@pytest.mark.parametrize(
    ("module", "name", "reply"),
    [
        (parser, "ACTION_REGEX", "Action" + " " * 13_000),
        (parser, "ACTION_INPUT_ONLY_REGEX", "Action" + " " * 600 + "Input" + " " * 600),
        (parser, "ACTION_INPUT_REGEX", "Action: x\nAction Input" + " " * 5000),
        (converter, "_JSON_PATTERN", "{" * 60_000),
        (base_llm, "_JSON_EXTRACTION_PATTERN", "{" * 60_000),
    ],
    ids=[*ITS_OWN, "_JSON_PATTERN", "_JSON_EXTRACTION_PATTERN"],
)
def test_a_reply_is_searched_in_linear_time(module: Any, name: str, reply: str) -> None:
    started = time.thread_time()
    getattr(module, name).search(reply)
    assert time.thread_time() - started < 0.1  # seconds of CPU; CrewAI's own takes five times as much


def test_long_arguments_are_not_repaired_by_the_parser() -> None:
    long = '{"a": "%s",}' % ("b" * 4000)
    assert parser._safe_repair_json(long) == long
    assert parser._safe_repair_json('{"a": "b",}') == '{"a": "b"}'


def test_long_arguments_are_not_repaired_for_a_tool() -> None:
    usage: Any = ToolUsage.__new__(ToolUsage)
    usage._emit_validate_input_error = lambda _: None
    usage.agent = None
    with pytest.raises(Exception, match="must be a valid dictionary"):
        usage._validate_tool_input('{"a": "%s",}' % ("b" * 4000))
    assert usage._validate_tool_input('{"a": "b",}') == {"a": "b"}


@given(REPLIES)
@settings(max_examples=300, deadline=None)
def test_an_action_and_its_input_are_found_as_before(reply: str) -> None:
    for name, pattern in ITS_OWN.items():
        ours, theirs = getattr(parser, name).search(reply), pattern.search(reply)
        assert (ours is None) == (theirs is None)
        if name == "ACTION_INPUT_REGEX" and ours and theirs:
            assert [part.strip() for part in ours.groups()] == [part.strip() for part in theirs.groups()]


@given(st.text(alphabet="{}a\n", max_size=12))
@settings(max_examples=200, deadline=None)
def test_a_structured_answer_is_found_as_before(reply: str) -> None:
    theirs = BRACES.search(reply)
    for pattern in (converter._JSON_PATTERN, base_llm._JSON_EXTRACTION_PATTERN):
        ours = pattern.search(reply)
        assert (ours and ours.group()) == (theirs and theirs.group())


@given(st.lists(st.sampled_from(["<summary>", "</summary>", "a", "\n"]), max_size=8).map("".join))
@settings(max_examples=200, deadline=None)
def test_a_summary_is_found_as_before(reply: str) -> None:
    theirs = re.search(r"<summary>(.*?)</summary>", reply, re.DOTALL)
    expected = theirs[1] if theirs else reply
    assert summary_of(reply) == expected.replace("<summary>", "")


def test_a_summary_comes_without_its_tags() -> None:
    model = JournaledLLM(ScriptedModel(lambda _: f"Well. <summary>Short.</summary>{'<summary>' * 9}"), Unjournaled())
    assert asyncio.run(model.acall("Sum it up.")) == "Short."


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ('{"city": "Ulm"}', {"city": "Ulm"}),
        ("{'city': 'Ulm'}", {"city": "Ulm"}),
        ('{"city": "Ulm",}', {"city": "Ulm"}),
        ('{"city": "%s"}' % ("U" * 9000), {"city": "U" * 9000}),
        ('{"city": "%s",}' % ("U" * 9000), None),
    ],
    ids=["JSON", "Python", "a comma too many", "long", "long and a comma too many"],
)
def test_arguments_of_a_tool_are_mended_if_they_are_short(arguments: str, read: dict[str, str] | None) -> None:
    usage: Any = ToolUsage.__new__(ToolUsage)
    usage._emit_validate_input_error = lambda _: None
    usage.agent = None
    action: Any = parser.parse(f"Thought: x\nAction: weather\nAction Input: {arguments}")
    try:
        found = usage._validate_tool_input(action.tool_input)
    except Exception:
        found = None
    assert found == read


HOSTILE = {
    "action and blanks": "Action" + " " * 60_000,
    "action, input and blanks": "Action: x\nAction Input" + " " * 60_000,
    "actions without an input": "Action:" * 9_000,
    "braces that are not closed": "{" * 60_000,
    "arguments that never end": "Action: x\nAction Input: " + '{"a":["' + '{"a":"b" "' * 6_000,
    "more arguments that never end": "Action: x\nAction Input: " + '{"a":' * 12_000,
    "summaries that never end": "<summary>" * 7_000,
}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_reply_keeps_the_process(reply: str) -> None:
    started = time.thread_time()
    try:
        read = parser.parse(reply)
    except parser.OutputParserError:
        read = None
    if isinstance(read, parser.AgentAction):
        usage: Any = ToolUsage.__new__(ToolUsage)
        usage._emit_validate_input_error = lambda _: None
        usage.agent = None
        with pytest.raises(Exception, match="Tool input"):
            usage._validate_tool_input(read.tool_input)
    converter._JSON_PATTERN.search(reply)
    summary_of(reply)
    assert time.thread_time() - started < 1  # seconds of CPU; a hundred of them before


class WithoutTools(ScriptedModel):
    """Its tools are described in the prompt, and its replies are searched for actions."""

    def __init__(self, reply: str) -> None:
        super().__init__(lambda _: reply)

    def supports_function_calling(self) -> bool:
        return False

    def get_context_window_size(self) -> int:
        return 1_000_000


class Shelf:
    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        return []


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_reply_keeps_a_run(reply: str, figure: Figure) -> None:
    runner = CrewRunner(lambda *_: WithoutTools(reply), Shelf())
    started = time.process_time()
    with contextlib.suppress(Exception):  # a crew may fail of it
        runner.run(JobInput(crew="research", inputs={"topic": "rain", "language": "en"}), Unjournaled())
    taken = time.process_time() - started
    figure(f"a run whose replies are {len(reply):,} characters of {reply[:21]!r}: {taken:.2f} s of CPU")
    assert taken < 5


def test_a_text_without_an_end_is_cut_before_it_is_read() -> None:
    said = decoded(encoded("[1" * LONGEST, {}), None)
    assert len(said) < LONGEST + 100
    assert said.endswith("[The rest is left out: it is too long.]")
    assert decoded(encoded("x" * LONGEST, {}), None) == "x" * LONGEST
