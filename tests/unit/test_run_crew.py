"""crewrelay.testing.crews: what authors of crews test them with."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from crewrelay.crews.models.failures import ToolUnavailable
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.testing.crews import ToolCall, passage, run_crew
from tests.support.crews import AGENTS, OwnCrews
from tests.support.processes import ROOT

COMPARE = ROOT / "docs/crews/compare"
PASSAGES = [passage("Rollback", "The journal holds the old pages."), passage("WAL", "The log holds the new ones.")]
COUNT = ToolCall("count", {"text": "one two"})


def tool(crews: OwnCrews, code: str, name: str = "count") -> Path:
    folder = crews.put(agents=f"{AGENTS}  tools: [{name}]\n")
    (folder / "tools.py").write_text(code)
    return folder


def test_every_task_gets_its_replies_and_the_answer_its_sources() -> None:
    run = run_crew(
        COMPARE,
        {"first": "the journal", "second": "the log"},
        [
            ToolCall("search_passages", {"query": "journal"}),
            "Old pages. [1]",
            ToolCall("search_passages", {"query": "log"}),
            "New pages. [2]",
            "Old pages [1] or new ones [2]. [9]",
        ],
        PASSAGES,
    )
    assert run.answer.text == "Old pages [1] or new ones [2]."
    assert [source.title for source in run.answer.sources] == ["Rollback", "WAL"]
    assert (run.answer.answerable, run.answer.unknown_citations, run.answer.usage.calls) == (True, (9,), 5)
    assert run.searches == ["journal", "log"]
    assert "Topic: the journal" in run.prompts[0]
    assert "The journal holds the old pages." in run.prompts[1]
    assert "Old pages. [1]" in run.prompts[4]


def test_a_reply_too_few_and_one_too_many(own_crews: OwnCrews) -> None:
    folder = own_crews.put()
    with pytest.raises(AssertionError, match="asks for reply 1, which the test does not have: You are Teller"):
        run_crew(folder, {"topic": "x"}, [])
    with pytest.raises(AssertionError, match=r"the last 1 replies: \['more'\]"):
        run_crew(folder, {"topic": "x"}, ["a tale", "more"])


def test_a_tool_is_called_and_not_again_when_the_crew_resumes(own_crews: OwnCrews, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f'''def count(text: str) -> int:
    """Counts words."""
    with open({str(log)!r}, "a") as file:
        file.write(text + "\\n")
    return len(text.split())
'''
    run = run_crew(tool(own_crews, code), {"topic": "x"}, [COUNT, "two"])
    assert log.read_text() == "one two\n"
    assert run.prompts[1].endswith("2")
    assert (run.answer.text, run.answer.answerable) == ("two", None)


def test_a_crew_that_asks_something_else_when_it_resumes_fails(own_crews: OwnCrews) -> None:
    code = """import itertools
from crewai.tools import BaseTool

numbers = itertools.count()

class Count(BaseTool):
    name: str = "count"
    description: str = "Counts."

    def __init__(self):
        super().__init__(description=f"Counts, for the {next(numbers)}th time.")

    def _run(self, text: str) -> str:
        return "2"
"""
    with pytest.raises(AssertionError, match="when it resumes, the crew asks something else"):
        run_crew(tool(own_crews, code, "Count"), {"topic": "x"}, [COUNT, "two"])


@pytest.mark.parametrize(("error", "raised"), [("ConnectionError", True), ("KeyError", False)])
def test_a_tools_error_is_told_to_the_model_unless_it_may_pass(own_crews: OwnCrews, error: str, raised: bool) -> None:
    folder = tool(own_crews, f'def count(text: str) -> int:\n    """Counts."""\n    raise {error}("away")\n')
    if raised:
        with pytest.raises(ToolUnavailable):
            run_crew(folder, {"topic": "x"}, [COUNT, "none"])
    else:
        assert "KeyError" in run_crew(folder, {"topic": "x"}, [COUNT, "none"]).prompts[1]


def test_a_crew_with_a_fault_is_refused_with_its_place(own_crews: OwnCrews) -> None:
    for broken, reason in ((AGENTS + "  tools: [absent]\n", "absent"), ("teller: 1\n", r"agents\.yaml:1")):
        with pytest.raises(InvalidCrew, match=reason):
            run_crew(own_crews.put(agents=broken), {"topic": "x"}, [])


def test_inputs_are_checked_and_models_need_no_key(own_crews: OwnCrews, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folder = own_crews.put(agents=AGENTS + "  llm: openai/gpt-4o\n")
    with pytest.raises(ValidationError, match="topic"):
        run_crew(folder, {"topic": "x" * 21}, [])
    assert run_crew(folder, {"topic": " rain "}, ["a tale"]).prompts[0].count("Tell of rain.") == 1
