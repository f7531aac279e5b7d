"""MCP servers that hang, write without end, leave processes behind, or repeat what they were sent in secret."""

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Task
from crewai.mcp import MCPServerHTTP, MCPServerStdio
from crewai.mcp.transports.base import BaseTransport
from crewai.mcp.transports.http import HTTPTransport
from crewai.mcp.transports.sse import SSETransport

from crewrelay.crews.journal.ambient import asking, journaling
from crewrelay.crews.journal.mcp_seam import RunClient
from crewrelay.crews.journal.mcp_servers import StdioServer, without_secrets
from crewrelay.crews.journal.workplace import Workplace
from crewrelay.crews.models.failures import explain
from crewrelay.crews.running.tuning import tune_crewai
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.testing import Unjournaled
from tests.support.doubles.mcp_server import LISTED, McpServer, mcp_server
from tests.support.doubles.openai_server import OpenAIServer, openai_server
from tests.support.runs import Attempts, reason
from tests.support.waiting import wait_until

SERVER = """
import json, sys
BEGUN
for line in sys.stdin:
    asked = json.loads(line)
    known = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                       "serverInfo": {"name": "one", "version": "1"}},
        "tools/list": {"tools": [{"name": "weather", "inputSchema": {"type": "object"}}]},
    }
    if asked["method"] == "tools/call":
        known["tools/call"] = {"content": [{"type": "text", "text": "rain"}]}
    if asked["method"] in known:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": known[asked["method"]]}), flush=True)
"""


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


def listed(transport: BaseTransport, timeout: int = 30) -> Any:
    """By a client of a run."""
    with journaling(Unjournaled()):
        return asyncio.run(RunClient(transport, connect_timeout=timeout).list_tools())


def process(begun: str) -> StdioServer:
    return StdioServer(sys.executable, ["-c", SERVER.replace("BEGUN", begun)])


def agent_of(server: OpenAIServer, *mcps: Any) -> Agent:
    model = LLM(model="openai/gpt-4o-mini", base_url=server.url, api_key="none")
    return Agent(role="Forecaster", goal="Forecast.", backstory="You look up.", llm=model, mcps=list(mcps))


def kickoff(agent: Agent) -> str:
    task = Task(description="Tell the weather.", expected_output="A sentence.", agent=agent)
    return str(Crew(agents=[agent], tasks=[task]).kickoff())


# ---- processes


def test_what_a_process_has_started_ends_with_it(tmp_path: Path) -> None:
    """The process itself ends by itself when its input does."""
    child = tmp_path / "child"
    begun = f"""
import subprocess
child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
open({str(child)!r}, "w").write(str(child.pid))
"""
    assert [tool["name"] for tool in listed(process(begun))] == ["weather"]
    wait_until(lambda: _is_gone(int(child.read_text())), within=10)


def _is_gone(pid: int) -> bool:
    """Or dead, and nobody has asked yet."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_of_what_a_process_writes_only_the_end_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    begun = "sys.stderr.write('x' * 20_000_000 + 'the end'); sys.stderr.flush()"
    largest = 0

    class Looking(StdioServer):
        async def disconnect(self) -> None:
            nonlocal largest
            largest = max(_sizes_of_open_files())
            await super().disconnect()

    with caplog.at_level(logging.WARNING):
        listed(Looking(sys.executable, ["-c", SERVER.replace("BEGUN", begun)]))
    assert largest < 1_000_000
    (said,) = [record.getMessage() for record in caplog.records if record.name == "mcp.server"]
    assert said.endswith("xthe end")
    assert len(said) < 5_000


def test_a_secret_that_a_process_writes_is_not_shown_in_part(caplog: pytest.LogCaptureFixture) -> None:
    begun = "import os; sys.stderr.write(os.environ['API_KEY'] + 'x' * 1_990); sys.stderr.flush()"
    with caplog.at_level(logging.WARNING):
        listed(StdioServer(sys.executable, ["-c", SERVER.replace("BEGUN", begun)], {"API_KEY": "s3cret-of-the-env"}))
    assert "xxx" in caplog.text
    assert "of-the-env" not in caplog.text


def _sizes_of_open_files() -> Iterator[int]:
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{number}")
            if link.endswith("(deleted)"):
                yield os.fstat(int(number)).st_size
    yield 0


def test_a_process_that_writes_without_end_is_ended() -> None:
    begun = """
import signal, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def write():
    while True:
        sys.stderr.write("x" * 10_000)
threading.Thread(target=write).start()
"""
    transport = process(begun)
    open_files = len(os.listdir("/proc/self/fd"))
    assert listed(transport)
    assert len(os.listdir("/proc/self/fd")) <= open_files


# ---- a server that hangs


class _Pings(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with suppress(OSError):
            while not self.server.ended.wait(0.05):  # type: ignore[attr-defined]
                self.wfile.write(b": ping\n\n")

    def log_message(self, *_: Any) -> None: ...


def test_a_stream_that_never_begins_is_given_up() -> None:
    """Its pings keep the connection alive."""
    double = ThreadingHTTPServer(("127.0.0.1", 0), _Pings)
    double.ended = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=double.serve_forever, daemon=True)
    thread.start()
    told: list[BaseException] = []

    def ask() -> None:
        try:
            listed(SSETransport(f"http://127.0.0.1:{double.server_port}/sse"), timeout=1)
        except Exception as error:
            told.append(error)

    asks = threading.Thread(target=ask, daemon=True)
    asks.start()
    try:
        asks.join(20)
        assert told
        assert explain(told[0]).outage
    finally:
        double.ended.set()  # type: ignore[attr-defined]
        double.shutdown()
        double.server_close()
        asks.join(20)


# ---- what is offered


def test_an_agent_of_several_jobs_offers_each_the_tools_of_its_own_list(
    clock: Any, server: OpenAIServer, mcp: McpServer
) -> None:
    """It belongs to a module; CrewAI adds the servers' tools to its own, with each kickoff."""
    agent = agent_of(server, MCPServerHTTP(url=mcp.url))
    offered = []
    for tools in (mcp.tools[:], mcp.tools[:1], mcp.tools[:1]):
        server.asked.clear()
        mcp.tools[:] = tools
        with journaling(Attempts(clock).start()):
            agent.kickoff("Rain?")
        offered.append([tool["function"]["name"].rpartition("_")[2] for tool in server.asked[0]["tools"]])
    assert offered == [["search", "weather"], ["search"], ["search"]]


def test_a_process_of_a_file_has_the_same_tools_in_every_run(
    attempts: Attempts, server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run has a folder of its own, and the names of the tools have the arguments in them."""
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "server.py").write_text(SERVER.replace("BEGUN", ""))
        monkeypatch.chdir(folder)
        script = MCPServerStdio(command="python", args=[os.path.abspath("server.py")])
        with journaling(attempts.start(), workplace=Workplace(folder)):
            kickoff(agent_of(server, script))
    assert [tool["function"]["name"] for tool in server.asked[0]["tools"]] == ["python_server_py_weather"]
    assert len(server.asked) == 2  # of the first run


def test_a_tool_without_a_description_is_offered(attempts: Attempts, server: OpenAIServer, mcp: McpServer) -> None:
    mcp.tools[:] = [tool.model_copy(update={"description": None}) for tool in mcp.tools]
    with journaling(attempts.start()):
        kickoff(agent_of(server, MCPServerHTTP(url=mcp.url)))
    assert len(server.asked[0]["tools"]) == 2


def test_a_filter_that_fails_is_no_outage(attempts: Attempts, server: OpenAIServer, mcp: McpServer) -> None:
    def broken(context: Any, tool: Any) -> bool:
        raise KeyError("no such name")

    run = attempts.start()
    with pytest.raises(Exception, match="no such name"), journaling(run):
        kickoff(agent_of(server, MCPServerHTTP(url=mcp.url, tool_filter=broken)))
    assert isinstance(reason(run), InvalidCrew)
    assert not explain(reason(run) or AssertionError()).retryable


def test_what_is_asked_within_a_call_of_a_model_is_asked(mcp: McpServer) -> None:
    with journaling(Unjournaled()), asking():
        asyncio.run(RunClient(HTTPTransport(mcp.url)).list_tools())
    assert mcp.asked == [LISTED]


# ---- secrets


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/mcp?api_key=s3cret%2Bof%3Dthe+address",
        "https://ann:s3cret%2Bof%3Dthe+address@example.org/mcp",
        "https://s3cret%2Bof%3Dthe+address@example.org/mcp",
        "https://example.org/mcp?key=s3cret%2Bof%3Dthe+address&key=another",
    ],
)
def test_a_secret_of_an_address_is_removed_as_it_is_written_and_as_it_is_meant(address: str) -> None:
    said = json.dumps([address, "s3cret+of=the address", "s3cret+of=the+address"])
    assert "s3cret" not in without_secrets(HTTPTransport(address), said)
