"""docs/tutorial.md, from the first call to the last: its commands run as they stand, in one shell's variables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from crewrelay.crews.environment import CREW_ENVIRONMENT
from tests.support.processes import ROOT
from tests.support.stack import RunningStack, environment, free_port, running_stack

PAGE = (ROOT / "docs/tutorial.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
ASK, FOLLOW, CHANGE, BATCH, WEBHOOK, NEW, CHECK, ASKING, PROJECT, TOKEN, SUBMIT, ANSWER, REPORT, TIDY = BLOCKS


class Reader:
    """Who types the page's commands, in a folder, with what was exported before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._variables = {**CREW_ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def types(self, block: str, stack: RunningStack | None = None) -> str:
        """What it printed. Its variables are kept for the blocks that follow."""
        if stack:
            self._variables |= {"CREWRELAY_URL": stack.url, "CREWRELAY_DATA": str(stack.data)}
            block = block.replace("http://localhost:8000", stack.url)
        block = block.replace("curl ", "curl --silent ")
        kept = self._folder.with_name("variables")
        done = subprocess.run(
            ["bash", "-uc", f'{block}\nprintf %s "${{JOB_ID-}} ${{CREWRELAY_TOKEN-}}" > {kept}'],
            cwd=self._folder,
            env=environment(**self._variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        job_id, token = kept.read_text().split(" ")
        self._variables |= {"JOB_ID": job_id} | ({"CREWRELAY_TOKEN": token} if token else {})
        return done.stderr + done.stdout


def last(text: str) -> Any:
    """The JSON at its end."""
    return json.loads(text[text.index("{") :])


def test_the_check_of_a_crew_is_that_of_the_page_on_crews() -> None:
    """Whose test runs it."""
    assert f"```bash\n{CHECK}```" in (ROOT / "docs/your-own-crew.md").read_text()


def test_it_leads_from_a_first_answer_to_crews_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    reader = Reader(folder)
    data = folder / ".crewrelay"
    with running_stack(1, "--data", str(data)) as stack:
        assert last(reader.types(ASK, stack))["status"] == "completed"
        followed = reader.types(FOLLOW, stack)
        assert "task 2 of 2: write (Writer)" in followed
        assert "\nrun 1 " in followed
        status, events = reader.types(CHANGE, stack).replace("}{", "}\n{").splitlines()
        assert json.loads(status)["status"] == "completed"
        assert json.loads(events)["events"][-1]["event"] == "completed"
        assert "3 completed" in reader.types(BATCH, stack)
        reader.types(WEBHOOK.replace("8900", str(free_port())), stack)
        assert json.loads((folder / "told.json").read_text())["type"] == "job.completed"
    reader.types(NEW)
    reader.types(ASKING)
    reader.types(PROJECT)
    with running_stack(1, "--data", str(data), "--auth", CREWRELAY_CREWS=str(folder / "crews")) as stack:
        assert stack.client.get("/crewai/crews", headers={"Authorization": ""}).status_code == 401
        assert {crew["name"] for crew in last(reader.types(TOKEN, stack))["crews"]} == {"mine", "report", "research"}
        assert "The task explain asks:" in reader.types(SUBMIT, stack)
        assert "[1] " in reader.types(ANSWER, stack)
        reported = last(reader.types(REPORT, stack))
        assert (reported["status"], [file["name"] for file in reported["files"]]) == ("completed", ["report.md"])
    reader.types(TIDY)
    assert list(folder.iterdir()) == [data]
