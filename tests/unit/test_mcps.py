"""What an agent's `mcps` asks of real MCP servers, over HTTP and in processes: each listing and call is journaled."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Task
from crewai.flow.flow import Flow, start
from crewai.mcp import MCPServerHTTP, MCPServerSSE, MCPServerStdio
from crewai.mcp.filters import create_static_tool_filter

from crewrelay.crews.journal import durable
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.models.failures import explain
from crewrelay.crews.projects.faults import REFUSED_OF_PROJECTS
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.records.journal import Kind, Reply
from crewrelay.jobs.running.run import Run
from crewrelay.testing import Unjournaled
from tests.support.doubles.mcp_server import LISTED, McpServer, mcp_server
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.fixtures import HandSetClock
from tests.support.processes import ROOT
from tests.support.runs import Attempts, reason
from tests.support.stack import free_port

KEY = "Bearer s3cret-of-the-header"
CALLED = "weather {'city': 'Ulm'}"


@pytest.fixture(autouse=True)
def tuned() -> None:
    tune_crewai()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as server:
        yield server


@pytest.fixture
def mcp() -> Iterator[McpServer]:
    with mcp_server() as server:
        yield server


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What a process writes into: a line for each thing that it is asked."""
    return tmp_path / "asked"


def http(mcp: McpServer, **options: Any) -> MCPServerHTTP:
    return MCPServerHTTP(url=mcp.url, headers={"Authorization": KEY}, **options)


def stdio(log: Path, **env: str) -> MCPServerStdio:
    env |= {"PYTHONPATH": str(ROOT), "ASKED": str(log)}
    return MCPServerStdio(command="python", args=["-m", "tests.support.doubles.mcp_server"], env=env)


def asked_of(log: Path) -> list[str]:
    return [line.partition(" ")[2] for line in log.read_text().splitlines()] if log.exists() else []


def agent_of(server: OpenAIServer, *mcps: Any) -> Agent:
    model = LLM(model="openai/gpt-4o-mini", base_url=server.url, api_key="none")
    return Agent(role="Forecaster", goal="Forecast.", backstory="You look up.", llm=model, mcps=list(mcps))


def kickoff(server: OpenAIServer, *mcps: Any) -> str:
    agent = agent_of(server, *mcps)
    task = Task(description="Tell the weather.", expected_output="A sentence.", agent=agent)
    return str(Crew(agents=[agent], tasks=[task]).kickoff())


class Killed(Exception):
    pass


class KilledAfterOne:
    """Calls that are journaled, until one new one is: from then on the process is gone."""

    def __init__(self, run: Run) -> None:
        self._run, self._gone = run, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def call(self, kind: Kind, request: dict[str, Any], pay: Any) -> Reply:
        def counted() -> Reply:
            reply: Reply = pay()
            self._gone = True
            return reply

        if self._gone:
            raise Killed
        reply = self._run.call(kind, request, counted)
        if self._gone:
            raise Killed
        return reply


# ---- once


@pytest.mark.parametrize("by", ["http", "sse", pytest.param("stdio", marks=pytest.mark.slow)])
def test_a_server_is_asked_once_though_the_run_dies_after_each_call(
    clock: HandSetClock, server: OpenAIServer, mcp: McpServer, log: Path, by: str
) -> None:
    """Listing, model, tool, model: four calls."""
    sse = MCPServerSSE(url=mcp.url.replace("/mcp", "/sse"))
    reference = {"http": http(mcp), "sse": sse, "stdio": stdio(log)}[by]
    with journaling(Unjournaled()):
        expected = kickoff(server, reference)
    prompts = [body["messages"] for body in server.asked]
    attempts = Attempts(clock)
    mcp.asked.clear()
    log.unlink(missing_ok=True)
    server.asked.clear()
    for _ in range(4):
        calls: Any = KilledAfterOne(attempts.start())
        with pytest.raises(Exception, match=r".*"), journaling(calls):
            kickoff(server, reference)
    with journaling(attempts.start()):
        assert kickoff(server, reference) == expected
    assert (asked_of(log) if by == "stdio" else mcp.asked) == [LISTED, CALLED]
    assert [body["messages"] for body in server.asked] == prompts
    assert [call.kind for call in attempts.journal].count(Kind.TOOL) == 2


def test_the_schema_of_a_tool_is_part_of_the_models_request(
    attempts: Attempts, server: OpenAIServer, mcp: McpServer
) -> None:
    with journaling(attempts.start()):
        kickoff(server, http(mcp))
    tools = {tool["function"]["name"]: tool["function"] for tool in server.asked[0]["tools"]}
    search, weather = sorted(tools)
    assert (search, weather) == (f"mcp_127_0_0_1_{mcp.port}_mcp_search", f"mcp_127_0_0_1_{mcp.port}_mcp_weather")
    assert tools[weather]["description"].endswith("Tells the weather of a city.")
    parameters = tools[weather]["parameters"]
    assert parameters["properties"]["city"]["type"] == "string"
    assert "city" in parameters["required"]
    assert server.asked[1]["messages"][-1]["content"] == "rain for ['Ulm']"


@pytest.mark.parametrize("way", ["kickoff", "kickoff_async", "a flow"])
def test_an_agent_without_a_crew_asks_once(attempts: Attempts, server: OpenAIServer, mcp: McpServer, way: str) -> None:
    class Forecast(Flow):  # type: ignore[type-arg]
        @start()
        async def tell(self) -> str:
            return str((await agent_of(server, http(mcp)).kickoff_async("Rain?")).raw)

    for _ in range(2):
        with journaling(attempts.start()):
            match way:
                case "kickoff":
                    agent_of(server, http(mcp)).kickoff("Rain?")
                case "kickoff_async":
                    asyncio.run(agent_of(server, http(mcp)).kickoff_async("Rain?"))
                case _:
                    Forecast().kickoff()
    assert mcp.asked == [LISTED, CALLED]
    assert len(server.asked) == 2


def test_an_address_alone_is_asked_as_a_server_is(
    attempts: Attempts, server: OpenAIServer, mcp: McpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CrewAI takes only https:// for one: the test has no certificate."""
    monkeypatch.setattr("crewrelay.crews.journal.mcp_seam.MCPServerHTTP", lambda url, **known: plain(url, known))

    def plain(url: str, known: dict[str, Any]) -> MCPServerHTTP:
        return MCPServerHTTP(url=url.replace("https://", "http://"), **known)

    for _ in range(2):
        with journaling(attempts.start()):
            kickoff(server, f"{mcp.url.replace('http://', 'https://')}#weather")
    assert mcp.asked == [LISTED, CALLED]
    assert len(server.asked[0]["tools"]) == 1


@pytest.mark.slow
def test_outside_of_a_run_crewai_asks_as_ever(server: OpenAIServer, mcp: McpServer, log: Path) -> None:
    kickoff(server, http(mcp), stdio(log))
    assert mcp.asked[0] == asked_of(log)[0] == LISTED


# ---- apart


@pytest.mark.slow
def test_jobs_side_by_side_share_no_list_and_no_process(server: OpenAIServer, log: Path, mcp: McpServer) -> None:
    runs = [Unjournaled() for _ in range(3)]

    def told(run: Unjournaled) -> str:
        with journaling(run):
            return kickoff(server, http(mcp, cache_tools_list=True), stdio(log))

    with ThreadPoolExecutor(len(runs)) as pool:
        assert len(set(pool.map(told, runs))) == 1
    assert mcp.asked.count(LISTED) == len(runs)
    processes = [line.split()[0] for line in log.read_text().splitlines()]
    assert len(set(processes)) == len(processes)  # one for each listing, and one for each call
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


# ---- failing


def test_a_server_that_is_down_ends_the_run_instead_of_offering_no_tools(
    attempts: Attempts, server: OpenAIServer
) -> None:
    port = free_port()
    for reference in (f"https://127.0.0.1:{port}/mcp", MCPServerHTTP(url=f"http://127.0.0.1:{port}/mcp")):
        run = attempts.start()
        with pytest.raises(Exception, match=r".*"), journaling(run):
            kickoff(server, reference)
        failure = explain(reason(run) or AssertionError())
        assert (failure.retryable, failure.outage) == (True, True)
        assert f"The MCP server 127.0.0.1:{port}/mcp does not answer" in failure.message
    assert server.asked == []
    assert attempts.journal == []
    with mcp_server(port) as mcp, journaling(attempts.start()):
        kickoff(server, http(mcp))
    assert len(server.asked) == 2


@pytest.mark.parametrize(("status", "retryable"), [(401, False), (404, False), (429, True), (503, True)])
def test_a_server_that_refuses_is_told_without_what_it_was_sent(
    attempts: Attempts, server: OpenAIServer, mcp: McpServer, status: int, retryable: bool
) -> None:
    mcp.failing = status
    run = attempts.start()
    with pytest.raises(Exception, match=r".*"), journaling(run):
        kickoff(server, MCPServerHTTP(url=f"{mcp.url}?api_key=s3cret-of-the-address", headers={"Authorization": KEY}))
    failure = explain(reason(run) or AssertionError())
    assert failure.retryable is retryable
    assert f"127.0.0.1:{mcp.port}/mcp" in failure.message
    assert "CREWRELAY_MODEL" not in failure.message
    assert "s3cret" not in failure.message
    assert mcp.keys == {KEY}
    assert server.asked == []


def test_a_server_that_offers_nothing_is_asked_again_later(
    attempts: Attempts, server: OpenAIServer, mcp: McpServer
) -> None:
    offered = list(mcp.tools)
    mcp.tools.clear()
    run = attempts.start()
    with pytest.raises(Exception, match=r".*"), journaling(run):
        kickoff(server, http(mcp))
    assert "offers no tools" in str(reason(run))
    mcp.tools += offered
    with journaling(attempts.start()):
        kickoff(server, http(mcp))
    assert mcp.asked == [LISTED, LISTED, CALLED]


def test_a_tool_that_a_server_lacks_fails_the_job(attempts: Attempts, server: OpenAIServer, mcp: McpServer) -> None:
    run = attempts.start()
    wanted = create_static_tool_filter(allowed_tool_names=["gone"])
    with pytest.raises(Exception, match=r".*"), journaling(run):
        kickoff(server, http(mcp, tool_filter=wanted))
    assert isinstance(reason(run), InvalidCrew)
    assert server.asked == []


@pytest.mark.parametrize(
    ("command", "args", "told", "retryable"),
    [
        ("no-such-command", [], "can't be started: No such file or directory", False),
        ("python", ["-c", "raise SystemExit('s3cret-of-the-env and more')"], "Connection closed", True),
    ],
)
def test_a_process_that_does_not_start_is_told(
    attempts: Attempts,
    server: OpenAIServer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    command: str,
    args: list[str],
    told: str,
    retryable: bool,
) -> None:
    run = attempts.start()
    reference = MCPServerStdio(command=command, args=args, env={"API_KEY": "s3cret-of-the-env"})
    with pytest.raises(Exception, match=r".*"), journaling(run), caplog.at_level(logging.WARNING):
        kickoff(server, reference)
    failure = explain(reason(run) or AssertionError())
    assert told in failure.message
    assert (failure.retryable, failure.outage) == (retryable, False)
    assert capfd.readouterr() == ("", "")
    assert "s3cret" not in caplog.text
    assert not retryable or "[redacted] and more" in caplog.text


@pytest.mark.slow
def test_what_a_process_writes_is_not_printed(
    attempts: Attempts,
    server: OpenAIServer,
    log: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with journaling(attempts.start()), caplog.at_level(logging.WARNING):
        kickoff(server, stdio(log))
    assert capfd.readouterr() == ("", "")
    assert f"asked {CALLED}" in [record for record in caplog.records if record.name == "mcp.server"][1].getMessage()


def test_a_call_that_is_not_answered_is_tried_again_with_the_job(
    attempts: Attempts, server: OpenAIServer, mcp: McpServer
) -> None:
    calls: Any = KilledAfterTwo(attempts.start())
    with pytest.raises(Exception, match=r".*"), journaling(calls):
        kickoff(server, http(mcp))
    mcp.failing = 503
    run = attempts.start()
    with pytest.raises(Exception, match=r".*"), journaling(run):
        kickoff(server, http(mcp))
    failure = explain(reason(run) or AssertionError())
    assert (failure.retryable, failure.outage) == (True, False)
    mcp.failing = None
    with journaling(attempts.start()):
        kickoff(server, http(mcp))
    assert mcp.asked == [LISTED, CALLED]
    assert len(server.asked) == 2


class KilledAfterTwo(KilledAfterOne):
    """After the listing, and the model's wish to call the tool."""

    def call(self, kind: Kind, request: dict[str, Any], pay: Any) -> Reply:
        if kind is not Kind.MODEL:
            return self._run.call(kind, request, pay)
        return super().call(kind, request, pay)


def test_what_a_server_fails_with_is_told_to_the_model(
    attempts: Attempts, server: OpenAIServer, mcp: McpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = ("weather", {"city": "nowhere"})
    monkeypatch.setattr("tests.support.doubles.openai_server._CITY_CALL", nowhere)
    for _ in range(2):
        with journaling(attempts.start()):
            kickoff(server, http(mcp))
    assert mcp.asked == [LISTED, "weather {'city': 'nowhere'}"]
    assert "nowhere" in str(server.asked[1]["messages"])


# ---- secrets


@pytest.mark.slow
def test_what_a_server_was_sent_in_secret_is_in_no_journal(
    attempts: Attempts, server: OpenAIServer, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so itself."""
    monkeypatch.setattr("tests.support.doubles.openai_server._CITY_CALL", ("weather", {"city": "secret"}))
    with journaling(attempts.start()):
        kickoff(server, stdio(log, TOLD_TOKEN="s3cret-of-the-env"))
    kept = json.dumps([call.model_dump(mode="json") for call in attempts.journal])
    assert "[redacted]" in kept
    assert "s3cret" not in kept
    assert "s3cret" not in str(server.asked)


def test_a_process_knows_our_python_but_not_our_environment(
    attempts: Attempts, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("OURS", "s3cret-of-ours")
    seen = tmp_path / "seen"
    script = f"import os, sys; open({str(seen)!r}, 'w').write(repr((sys.prefix, dict(os.environ))))"
    with pytest.raises(Exception, match=r".*"), journaling(attempts.start()):
        kickoff(server, MCPServerStdio(command="python", args=["-c", script]))
    assert sys.prefix in seen.read_text()
    assert "s3cret" not in seen.read_text()


# ---- refused


@pytest.mark.parametrize("name", ["crewai-amp:notion", "notion#search"])
def test_a_server_of_crewais_platform_is_refused(
    attempts: Attempts, server: OpenAIServer, mcp: McpServer, name: str
) -> None:
    agent = agent_of(server, name, http(mcp))
    ((option, who, effect),) = durable.refused_of(agent, agent.role, REFUSED_OF_PROJECTS)
    assert (option, who) == ("mcps", "Forecaster")
    assert name in effect
    with pytest.raises(InvalidCrew, match="https:// address"), journaling(attempts.start()):
        agent.kickoff("Rain?")
    assert (server.asked, mcp.asked) == ([], [])
