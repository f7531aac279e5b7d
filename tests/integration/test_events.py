"""tests/events, for `sam local invoke`: each means to its function what it says, with the variables it would have."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.jobs.access import Scope, issue
from crewrelay.local.resources import Template
from crewrelay.local.sam import VARIABLES, main, prepare, variables
from crewrelay.system import utcnow
from tests.support.aws import TESTS
from tests.support.deployed import Deployed
from tests.support.fixtures import Storage
from tests.support.invocations import EVENTS, JOBS, LIFE, event, jobs
from tests.support.processes import ROOT
from tests.support.template import functions


def declared(template: Template, function: str) -> set[str]:
    """The variables that `sam local` lets through: those that the template has for the function."""
    own = functions(template)[function].get("Environment", {}).get("Variables", {})
    return {*template["Globals"]["Function"]["Environment"]["Variables"], *own}


def test_each_event_is_answered_by_its_function(deployed: Template, storage: Storage, emulator: str) -> None:
    issue(  # the one in authorize.json
        DynamoTokens(storage.dynamodb, storage.table, utcnow),
        "local",
        frozenset(Scope),
        utcnow(),
        utcnow() + timedelta(hours=1),
        bytes,
    )
    resources = {
        "JobsTable": storage.table,
        "BodiesBucket": storage.bucket,
        "JobQueue": storage.queue_url,
        "JobDeadLetterQueue": storage.dlq_url,
        "IntakeQueue": storage.intake_queue_url,
        "IntakeDeadLetterQueue": storage.intake_dlq_url,
        "NotifyQueue": storage.notify_queue_url,
        "NotifyDeadLetterQueue": storage.notify_dlq_url,
    }
    given = variables(deployed, resources, emulator)
    aws = TESTS.variables | {"AWS_DEFAULT_REGION": "us-east-1"}
    started: dict[str, Deployed] = {}
    with ExitStack() as stack:
        for invocation in LIFE:
            name = invocation.function
            if name not in started:
                let_through = {name: given[name] for name in declared(deployed, name) & given.keys()}
                started[name] = Deployed(name.removesuffix("Function").lower(), aws | let_through)
                stack.callback(started[name].end)
            answer = started[name](event(invocation.event))
            assert (invocation.event, invocation.read(answer)) == (invocation.event, invocation.told)
    assert jobs(storage.dynamodb, storage.table) == JOBS
    assert not storage.messages(storage.dlq_url) + storage.messages(storage.intake_dlq_url)


def test_the_page_has_every_event_with_its_function() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    life = {(invocation.event, invocation.function) for invocation in LIFE}
    assert set(re.findall(r"^\| `(\w+)` \| `(\w+Function)` \|", page, re.MULTILINE)) == life
    typed = re.findall(r"sam local invoke (\w+) --event tests/events/(\w+)\.json", page)
    assert typed
    assert {(name, function) for function, name in typed} <= life
    assert {path.stem for path in EVENTS.iterdir()} == {name for name, _ in life}


def test_an_emulator_that_runs_is_made_ready_and_named_as_containers_see_it(emulator: str, tmp_path: Path) -> None:
    path = tmp_path / ".aws-sam/variables.json"
    header = prepare(emulator, "http://localstack:4566", TESTS, path)
    written = json.loads(path.read_text())["Parameters"]
    assert header.startswith("Authorization: Bearer crt_")
    assert written["AWS_ENDPOINT_URL"] == "http://localstack:4566"
    credentials = path.with_name("aws.env")
    assert credentials.stat().st_mode & 0o777 == 0o600
    assert f"export AWS_ENDPOINT_URL={emulator}\n" in credentials.read_text()
    assert prepare(emulator, "http://localstack:4566", TESTS, path) != header  # again, on the same table
    assert json.loads(path.read_text())["Parameters"] == written


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "localstack"])
def test_an_emulator_that_is_not_there_is_said_in_a_line_and_nothing_is_written(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["sam", address, "http://localstack:4566"])
    before = VARIABLES.read_bytes() if VARIABLES.exists() else None
    with pytest.raises(SystemExit, match="can't make the table, the queues and the bucket: .*" + re.escape(address)):
        main()
    assert (VARIABLES.read_bytes() if VARIABLES.exists() else None) == before


def test_without_its_variables_sam_local_names_the_command_that_makes_them(tmp_path: Path) -> None:
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, tmp_path)
    sam, event_path = str(ROOT / ".venv-sam/bin/sam"), str(EVENTS / "submit.json")
    command = [sam, "local", "invoke", "ApiFunction", "--event", event_path]
    environment = os.environ | {"SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true"}
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    named = re.search(r"Path '(.*)' does not exist", failed.stderr)
    assert named, failed.stderr
    assert ROOT / named[1] == VARIABLES
    (target,) = re.findall(r"made-by-make-([a-z-]+)\.json", named[1])
    recipe = re.search(rf"^{target}: .*\n\t(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    assert recipe[1].endswith("python -m crewrelay.local.sam")
    assert f"$ make {target}" in (ROOT / "docs/deploy.md").read_text()
