"""n8n itself, from tests/n8n/node: `n8n start` in a folder of its own, beside which its command line executes."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.support.processes import ROOT
from tests.support.stack import free_port
from tests.support.waiting import wait_until

PROGRAM = str(ROOT / "tests/n8n/node/node_modules/.bin/n8n")
OFFLINE = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_COMMUNITY_PACKAGES_ENABLED": "false",
    "N8N_EXPRESSION_ENGINE": "legacy",
}


class Execution(NamedTuple):
    id: str
    status: str
    error: str
    last: str  # node
    outputs: dict[str, list[list[dict[str, Any]]]]  # by node: of each of its runs, the items

    def items(self, node: str) -> list[dict[str, Any]]:
        """What a node gave last."""
        return self.outputs[node][-1]


class N8n:
    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self.variables = os.environ | OFFLINE
        self.variables |= {"N8N_USER_FOLDER": str(folder), "N8N_ENCRYPTION_KEY": "of-the-tests", "N8N_PORT": str(port)}
        self.variables |= {"N8N_LISTEN_ADDRESS": "127.0.0.1", "WEBHOOK_URL": self.url}

    def run(self, *arguments: str) -> None:
        """A command of n8n's own. It has a broker for its tasks, and so a port."""
        variables = self.variables | {"N8N_RUNNERS_BROKER_PORT": str(free_port())}
        command = [PROGRAM, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=variables, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def bring(self, kind: str, thing: dict[str, Any]) -> None:
        """Imports a `workflow`, or `credentials`."""
        file = self._folder / f"{kind}.json"
        file.write_text(json.dumps([thing]))
        self.run(f"import:{kind}", f"--input={file}")

    def execution(self, workflow: str) -> Execution | None:
        """The newest one of a workflow, as it is stored."""
        with closing(sqlite3.connect(f"file:{self._folder}/.n8n/database.sqlite?mode=ro", uri=True)) as database:
            row = database.execute(
                "SELECT e.id, e.status, d.data FROM execution_entity e JOIN execution_data d ON d.executionId = e.id "
                "WHERE e.workflowId = ? ORDER BY e.id DESC",
                (workflow,),
            ).fetchone()
        if row is None:
            return None
        told = _unflattened(json.loads(row[2])).get("resultData", {})
        outputs = {
            node: [[item["json"] for item in (run["data"]["main"][0] or [])] for run in runs if "data" in run]
            for node, runs in told.get("runData", {}).items()
        }
        error = str(told.get("error", {}).get("message", ""))
        return Execution(str(row[0]), row[1], error, told.get("lastNodeExecuted", ""), outputs)

    def ended(self, workflow: str, within: float = 60) -> Execution:
        """The newest execution, once it neither runs nor waits."""

        def end() -> Execution | None:
            found = self.execution(workflow)
            return found if found and found.status not in ("new", "running", "waiting") else None

        found = wait_until(end, within, every=0.2)
        assert found.status == "success", found
        return found


def _unflattened(pool: list[Any]) -> Any:
    """n8n stores an execution as the npm package `flatted` writes it: a list, in which strings are indexes of it."""

    def value(index: str) -> Any:
        found = pool[int(index)]
        if isinstance(found, dict):
            return {name: value(part) if isinstance(part, str) else part for name, part in found.items()}
        if isinstance(found, list):
            return [value(part) if isinstance(part, str) else part for part in found]
        return found

    return value("0")


@contextmanager
def running_n8n(folder: Path) -> Iterator[N8n]:
    n8n = N8n(folder, free_port())
    with (folder / "log").open("w") as log:
        variables = n8n.variables | {"N8N_RUNNERS_BROKER_PORT": str(free_port())}
        process = subprocess.Popen([PROGRAM, "start"], stdout=log, stderr=log, env=variables)
        try:
            wait_until(lambda: process.poll() is not None or _ready(n8n.url), within=180, every=0.5)
            assert process.poll() is None, (folder / "log").read_text()
            yield n8n
        finally:
            process.terminate()
            process.wait(30)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz/readiness").is_success
    except httpx.TransportError:
        return False
