"""The API keeps to its own description, whatever it is sent: schemathesis makes right and wrong requests of it."""

import re
import subprocess
import sys
from pathlib import Path

from tests.stack import RunningStack

CASES = 1000
# That a language is registered, a crew known and its inputs as it declares them, no schema of the API can say.
BEYOND_SCHEMAS = "positive_data_acceptance"


def test_a_thousand_requests_meet_no_server_error_and_no_answer_that_is_not_described(
    stack: RunningStack, tmp_path: Path
) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    options = ["--seed", "1", "--max-examples", "64", "--request-timeout", "40", "--exclude-checks", BEYOND_SCHEMAS]
    command = [str(program), "run", f"{stack.url}/openapi.json", *options, "--no-color", "--continue-on-failure"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout
    cases = re.search(r"([\d,]+) generated", ran.stdout)
    assert cases, ran.stdout
    print(f"\n{cases[1]} requests made of the API's description: 0 server errors, 0 answers that it does not describe")
    assert int(cases[1].replace(",", "")) >= CASES
