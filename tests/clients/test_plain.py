"""The `fetch` of docs/clients.md, run by Node as it stands."""

import re
import subprocess

from tests.support.processes import ROOT
from tests.support.stack import running_stack


def test_the_pages_fetch_follows_a_job_to_its_end() -> None:
    (program,) = re.findall(r"```javascript\n(.*?)```", (ROOT / "docs/clients.md").read_text(), re.DOTALL)
    with running_stack() as stack:
        command = ["node", "--input-type=module", "--eval", program.replace("http://localhost:8000", stack.url)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("completed A neural network")
