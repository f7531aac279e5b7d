"""The API keeps to its own description, whatever it is sent: schemathesis makes right and wrong requests of it.

Links lead it from a submission to what can be done with its job or batch. `FAULTS=long` makes thousands.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.stack import RunningStack

LONG_FORM = os.environ.get("FAULTS") == "long"
CASES, EXAMPLES, LINKS, TIME = (
    (2000, 64, 8, 900) if LONG_FORM else (150, 6, 1, 300)
)  # in all, and at most of an operation and a way to make them
# That a language is registered, a crew known and its inputs as it declares them, no schema of the API can say.
BEYOND_SCHEMAS = "positive_data_acceptance"


def test_requests_of_any_kind_meet_no_server_error_and_no_answer_that_is_not_described(
    tmp_path: Path, guarded: RunningStack
) -> None:
    """With a token, and in the cases that schemathesis makes up for it, without one or with a wrong one."""
    program = Path(sys.executable).with_name("schemathesis")
    options = [
        "--seed",
        "1",
        "--max-examples",
        str(EXAMPLES),
        "--request-timeout",
        "40",
        "--exclude-checks",
        BEYOND_SCHEMAS,
    ]
    hooks = os.environ | {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    command = [
        str(program),
        "run",
        f"{guarded.url}/openapi.json",
        "--header",
        f"Authorization: {guarded.client.headers['Authorization']}",
        *options,
        "--no-color",
        "--continue-on-failure",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=TIME, env=hooks, check=False)
    assert ran.returncode == 0, ran.stdout
    cases = re.search(r"([\d,]+) generated", ran.stdout)
    assert cases, ran.stdout
    links = re.search(r"API Links: +(\d+) covered", ran.stdout)
    assert links, ran.stdout
    assert int(links[1]) >= LINKS
    print(f"\n{cases[1]} requests made of the API's description: 0 server errors, 0 answers that it does not describe")
    print(f"{links[1]} links were followed")
    assert int(cases[1].replace(",", "")) >= CASES
