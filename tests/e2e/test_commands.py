"""The commands about jobs, `redrive` and `doctor` against a running stack."""

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from crewrelay.cli.commands import app
from tests.e2e.stacks import ScriptedStack
from tests.support.stack import free_port

UNSET = {"CREWRELAY_URL": None, "CREWRELAY_STACK": None, "XDG_CONFIG_HOME": "/nonexistent"}


def command(*arguments: str, code: int = 0, **variables: str) -> Result:
    result = CliRunner().invoke(app, arguments, env=UNSET | variables)
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def aws(scripted: ScriptedStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of somebody who may see the stack."""
    from crewrelay.aws import clients

    for name, value in scripted.stack.aws_variables.items():
        monkeypatch.setenv(name, value)
    cached = (clients.dynamodb, clients.sqs, clients.s3)
    for client in cached:
        client.cache_clear()
    yield
    for client in cached:
        client.cache_clear()


def test_a_job_is_submitted_looked_at_and_followed(scripted: ScriptedStack) -> None:
    url = scripted.stack.url
    scripted.model.script()
    job_id = command("submit", "rain", "--url", url, "--key", "one").stdout.strip()
    assert command("submit", "rain", "--url", url, "--key", "one").stdout.strip() == job_id
    watched = command("watch", job_id, "--url", url)
    assert watched.stdout.startswith("\nAbout rain: one fact [1], another [2], an invented one.\n\n[1] ")
    assert watched.stderr.startswith(f"job {job_id}\nrunning\ntask 1 of 2: research (Researcher)\n")
    assert watched.stderr.splitlines()[-1].startswith("completed in ")
    status = json.loads(command("status", job_id, "--json", CREWRELAY_URL=url).stdout)
    assert (status["status"], status["inputs"]) == ("completed", {"topic": "rain", "language": "en"})
    assert "\nstatus     completed\n" in command("status", job_id, CREWRELAY_URL=url).stdout
    assert "has already completed" in command("cancel", job_id, "--url", url, code=1).stderr
    assert command("delete", job_id, "--url", url).stdout == f"job {job_id} is deleted\n"


def test_a_failed_job_says_why_and_can_be_retried(scripted: ScriptedStack) -> None:
    url = scripted.stack.url
    scripted.model.script("--statuses", "401")
    ran = command("run", "rain", "--url", url, code=3)
    assert "crewrelay: the job failed: The model refused the key" in ran.stderr
    job_id = ran.stderr.splitlines()[0].removeprefix("job ")
    listed = command("jobs", "--status", "failed", "--limit", "1", "--url", url).stdout
    assert listed.splitlines()[0].split()[:3] == ["JOB", "STATUS", "CREW"]
    assert f"\n{job_id}  failed  research  " in listed
    assert "The model refused the key" in listed
    as_json = command("jobs", "--limit", "1", "--json", "--url", url).stdout
    assert json.loads(as_json)["job_id"] == job_id
    assert command("retry", job_id, "--url", url).stdout.startswith(f"job {job_id} is ")
    assert "About rain" in command("watch", job_id, "--url", url).stdout


def test_a_waiting_job_is_cancelled(scripted: ScriptedStack) -> None:
    url = scripted.stack.url
    scripted.model.script("--delay", "30")
    job_id = command("submit", "--crew", "research", "--inputs", '{"topic": "x", "language": "de"}', "--url", url)
    cancelled = json.loads(command("cancel", job_id.stdout.strip(), "--json", "--url", url).stdout)
    assert cancelled["status"] in ("cancelled", "running")
    assert "the job was cancelled" in command("watch", job_id.stdout.strip(), "--url", url, code=3).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit"], "give a TOPIC, or --crew and --inputs"),
        (["submit", "x", "--inputs", "{}"], "not both"),
        (["submit", "--inputs", "{}"], "name it with --crew"),
        (["submit", "--crew", "research", "--inputs", "{"], "--inputs is not valid JSON"),
        (["submit", "--crew", "research", "--inputs", "[]"], "must be a JSON object"),
        (["submit", "x", "--language", "english"], "language: must be a BCP 47 language tag"),
        (["submit", "--crew", "nobody", "--inputs", "{}"], "must name a crew of this deployment: research"),
        (["status", "nobody"], "There is no job nobody. Check the job id"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(scripted: ScriptedStack, arguments: list[str], said: str) -> None:
    refused = command(*arguments, code=1, CREWRELAY_URL=scripted.stack.url)
    assert said in refused.stderr
    assert refused.stdout == ""


def test_an_address_where_nothing_runs() -> None:
    said = command("status", "x", "--url", f"http://127.0.0.1:{free_port()}", code=5).stderr
    assert "did not answer" in said
    assert "Is the address right" in said
    assert "nonsense is no address" in command("status", "x", "--url", "nonsense", code=1).stderr


@pytest.mark.usefixtures("aws")
def test_a_stack_is_found_by_its_name(scripted: ScriptedStack) -> None:
    assert command("redrive").stdout == "0 sent back, 0 left because they are malformed\n"
    missing = command("submit", "x", CREWRELAY_STACK="nobodys", code=1).stderr
    assert "stack nobodys" in missing


@pytest.mark.usefixtures("aws")
def test_the_doctor_looks_at_every_part(scripted: ScriptedStack) -> None:
    url, stack = scripted.stack.url, scripted.stack
    well = command("doctor", "--url", url, "--stack", "crewrelay").stdout.splitlines()
    parts = ["credentials", "table", "bucket", "JobQueue", "JobDeadLetterQueue", "IntakeQueue"]
    parts += ["IntakeDeadLetterQueue", "NotifyQueue", "NotifyDeadLetterQueue"]
    parts += ["API", "crews", "model", "own crews", "collection"]
    assert [line[7:29].strip() for line in well] == parts
    assert all(line.startswith("ok ") for line in well)
    stack.aws("sqs").send_message(QueueUrl=stack.resource("JobDeadLetterQueue"), MessageBody="nonsense")
    variables = {"CREWRELAY_MODEL": "openai/gpt-4o", "OPENAI_API_KEY": "", "CREWRELAY_COLLECTION": "absent"}
    ill = command("doctor", "--stack", "crewrelay", "--url", url, code=1, **variables).stdout.splitlines()
    wrong = {line[7:29].strip(): line[31:] for line in ill if line.startswith("WRONG")}
    assert wrong.keys() == {"JobDeadLetterQueue", "model", "collection"}
    assert "`crewrelay redrive --stack crewrelay`" in wrong["JobDeadLetterQueue"]
    assert "CREWRELAY_MODEL_API_KEY" in wrong["model"]
    assert "crewrelay ingest" in wrong["collection"]
