"""The real stack as a process, the way its users start it."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from crewrelay.local.credentials import Credentials
from tests.support.aws import TESTS, aws_client, exported
from tests.support.models import ScriptedModel

_client = cache(aws_client)  # each keeps a connection
COMMAND = (sys.executable, "-m", "crewrelay")


class RunningStack(NamedTuple):
    """`client` sends the token that a stack with --auth prints. Its jobs are in the folder `data`, or in the AWS that
    `aws_variables` lead to.
    """

    url: str
    process: subprocess.Popen[str]
    client: httpx.Client
    aws_variables: Mapping[str, str]
    aws_file: Path | None  # that names them
    data: Path | None
    found: str = ""  # what it says of the jobs in there

    @classmethod
    def that_says(cls, process: subprocess.Popen[str], client: httpx.Client) -> "RunningStack":
        """One that now prints its line."""
        assert process.stdout
        line = process.stdout.readline()
        urls = re.findall(r"http://[^\s;]+", line)
        assert urls, f"the stack said {line!r} and ended with {process.poll()}"
        client.base_url = urls[0]
        named = re.search(r" credentials are in (\S+)", line)
        if named:
            return cls(urls[0], process, client, exported(Path(named[1])), Path(named[1]), None)
        if urls[1:]:
            return cls(urls[0], process, client, {"AWS_ENDPOINT_URL": urls[1], **TESTS.variables}, None, None)
        folder = re.search(r" with jobs in ([^\s;]+)(?:; (.+))? \(Ctrl-C", line)
        assert folder, line
        return cls(urls[0], process, client, {}, None, Path(folder[1]), folder[2] or "")

    @property
    def aws_url(self) -> str:
        return self.aws_variables["AWS_ENDPOINT_URL"]

    def aws(self, service: str) -> Any:
        """A client of the stack's own AWS."""
        keys = self.aws_variables["AWS_ACCESS_KEY_ID"], self.aws_variables["AWS_SECRET_ACCESS_KEY"]
        return _client(service, self.aws_url, Credentials(*keys))

    def jobs(self) -> dict[str, str]:
        """Its jobs: {id: status}."""
        if self.data:
            with closing(sqlite3.connect(f"file:{self.data}/jobs.db?mode=ro", uri=True)) as database:
                return dict(database.execute("SELECT id, status FROM jobs"))
        items = self.aws("dynamodb").scan(TableName=self.resource("JobsTable"))["Items"]
        rows = [item for item in items if item["sk"]["S"] == "JOB"]
        return {row["pk"]["S"].removeprefix("JOB#"): row["status"]["S"] for row in rows}

    def crews(self) -> set[int]:
        """Its crew processes."""
        return children_running(self.process.pid, "crewrelay.local.crew")

    def resource(self, logical_id: str) -> str:
        """The name or URL of what template.yaml calls so."""
        resource = self.aws("cloudformation").describe_stack_resource(
            StackName="crewrelay", LogicalResourceId=logical_id
        )
        physical_id: str = resource["StackResourceDetail"]["PhysicalResourceId"]
        return physical_id


_FOLDERS = tempfile.TemporaryDirectory(prefix="crewrelay-tests-")


def environment(**variables: str) -> dict[str, str]:
    """This process's, without what would lead a stack elsewhere, or to what somebody has ingested here. Its jobs are in
    a folder of its own, unless the variables lead to an AWS.
    """
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CREWRELAY_", "AWS_", "WEAVIATE"))
    }
    kept["CREWRELAY_COLLECTIONS"] = kept["XDG_CONFIG_HOME"] = "/nonexistent"
    if not any(name.startswith("AWS_ENDPOINT_URL") for name in variables):
        kept["CREWRELAY_DATA"] = tempfile.mkdtemp(dir=_FOLDERS.name)
    return kept | variables


@contextmanager
def running_stack(
    crews: int = 1, /, *arguments: str, inside: Sequence[str] = (), **variables: str
) -> Iterator[RunningStack]:
    """Start `crewrelay serve` on a free port and wait for the line that says it is ready. `inside` are the words of a
    command that becomes the one after it, as those of sandbox.py.

    A second crew process would take seconds of CPU to start while the test is under way. At the end SIGTERM stops
    everything in order, unless the test has stopped it.
    """
    command = [*inside, *COMMAND, "serve", "--port", "0", "--crews", str(crews), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(**variables))
    assert process.stdout is not None
    try:
        with httpx.Client(timeout=40) as client:
            stack = RunningStack.that_says(process, client)
            if "--auth" in arguments:
                client.headers["Authorization"] = " ".join(process.stdout.readline().split()[1:3])
            yield stack
        started = children(process.pid)
        running = process.poll() is None
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()
    if running:
        assert process.returncode == 0
        assert not [pid for pid in started if alive(pid)]


def serve_and_fail(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "serve", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(**variables), check=False
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def model_variables(server: int | ScriptedModel) -> dict[str, str]:
    """What points a stack at a model server of the tests, by its port, or at one of its models."""
    url = server.url if isinstance(server, ScriptedModel) else f"http://127.0.0.1:{server}"
    return {
        "CREWRELAY_MODEL": "openai/scripted",
        "CREWRELAY_MODEL_BASE_URL": f"{url}/v1",
        "CREWRELAY_MODEL_API_KEY": "test-key",
    }


def children(pid: int) -> list[int]:
    """Process ids of a process's direct children."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def children_running(pid: int, module: str) -> set[int]:
    """Those of a process's children that run a module."""

    def arguments(child: int) -> str:
        found = subprocess.run(["ps", "-o", "args=", "-p", str(child)], capture_output=True, text=True, check=False)
        return found.stdout

    return {child for child in children(pid) if module in arguments(child)}


def alive(pid: int) -> bool:
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(status.stdout.strip()) and not status.stdout.startswith("Z")
