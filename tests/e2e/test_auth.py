"""A stack whose callers need a token: made, listed and revoked with the command, as against a deployment."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from crewrelay.cli.commands import app
from crewrelay.local.serve import OpenToOthers, listen
from tests.e2e.stacks import ORIGIN
from tests.support.http_apps import assert_problem
from tests.support.processes import ROOT
from tests.support.stack import COMMAND, RunningStack, environment, serve_and_fail

TOKENS = (ROOT / "docs/tokens.md").read_text()
EXAMPLE = {"topic": "neural networks", "language": "en"}
PATHS = ("/crewai/run", "/crewai/run/async")


def token_command(stack: RunningStack, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["token", *arguments], env=environment(CREWRELAY_DATA=str(stack.data)))


def created(stack: RunningStack, *arguments: str) -> tuple[str, str]:
    """The text and the id of a new token."""
    done = token_command(stack, "create", *arguments)
    assert done.exit_code == 0, done.stderr
    (text,) = done.stdout.splitlines()
    found = re.match(r"token ([0-9a-f]{12}) of ", done.stderr)
    assert found
    return text, found[1]


def test_the_readmes_commands_do_what_they_say(guarded: RunningStack) -> None:
    create, _, list_, revoke = re.findall(r"^\$ crewrelay token (.*?)(?: +#.*)?$", TOKENS, re.MULTILINE)
    text, token_id = created(guarded, *create.split()[1:])
    assert text.startswith("crt_")
    assert token_id in token_command(guarded, *list_.split()).stdout
    verb, shown = revoke.split()
    assert len(shown) == len(token_id)
    assert "is revoked" in token_command(guarded, verb, token_id).stdout


def test_the_command_sends_the_token_of_its_variable(guarded: RunningStack) -> None:
    token, _ = created(guarded, "--tenant", "acme")
    command = [*COMMAND, "submit", "neural networks", "--url", guarded.url]
    for variables in ({"CREWRELAY_TOKEN": token}, {}):
        env = environment(**variables)
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=60)
        if variables:
            assert ask(guarded, "GET", f"/crewai/status/{done.stdout.strip()}", token).status_code == 200
        else:
            assert done.returncode == 1
            assert "without a valid token" in done.stderr


def ask(stack: RunningStack, method: str, path: str, token: str = "", **headers: str) -> Any:
    known = {"Authorization": f"Bearer {token}"} if token else {}
    body = EXAMPLE if method == "POST" and path in PATHS else None
    return httpx.request(method, stack.url + path, json=body, headers=known | headers, timeout=40)


def test_the_token_that_is_printed_at_start_may_do_everything(guarded: RunningStack) -> None:
    ran = guarded.client.post("/crewai/run", json=EXAMPLE)
    assert ran.status_code == 200
    location = guarded.client.post("/crewai/run/async", json=EXAMPLE).headers["Location"]
    assert guarded.client.get(location).status_code == 200
    assert guarded.client.get(ran.headers["Location"]).json()["status"] == "completed"
    assert guarded.client.post(f"/crewai/jobs/{ran.json()['job_id']}/cancel").status_code == 409


@pytest.mark.parametrize("token", ["", "crt_" + "0" * 72, "nonsense"])
@pytest.mark.parametrize("path", PATHS)
def test_without_a_valid_token_nothing_is_run(guarded: RunningStack, path: str, token: str) -> None:
    before = guarded.jobs().keys()
    refused = ask(guarded, "POST", path, token, Origin=ORIGIN)
    assert_problem(refused, 401, "unauthenticated")
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert guarded.jobs().keys() == before


@pytest.mark.parametrize("path", ["/", "/health", "/docs", "/openapi.json"])
def test_what_says_nothing_of_any_job_needs_no_token(guarded: RunningStack, path: str) -> None:
    assert ask(guarded, "GET", path).status_code == 200


def test_a_tenant_sees_its_own_jobs_and_no_others_wherever_they_ran(guarded: RunningStack) -> None:
    acme, _ = created(guarded, "--tenant", "acme")
    zoo, _ = created(guarded, "--tenant", "zoo", "--scope", "read", "--expires", "1h")
    for path in PATHS:
        job_id = ask(guarded, "POST", path, acme).json()["job_id"]
        status = f"/crewai/status/{job_id}"
        assert ask(guarded, "GET", status, acme).status_code == 200
        assert_problem(ask(guarded, "GET", status, zoo), 404, "unknown_job")
        assert_problem(guarded.client.get(status), 404, "unknown_job")
        assert_problem(ask(guarded, "POST", path, zoo), 403, "missing_scope")
        assert_problem(ask(guarded, "POST", f"/crewai/jobs/{job_id}/cancel", acme), 403, "missing_scope")


def test_a_client_can_not_say_who_it_is(guarded: RunningStack) -> None:
    """Nor by the header by which the gateway tells a crew process."""
    acme, _ = created(guarded, "--tenant", "acme")
    for name in ("x-crewrelay-caller", "X-Crewrelay-Caller", "x-crewrelay-received-at"):
        said = {name: json.dumps({"tenant": "zoo", "scopes": "run read admin"})}
        assert_problem(ask(guarded, "POST", "/crewai/run", **said), 401, "unauthenticated")
        ran = ask(guarded, "POST", "/crewai/run", acme, **said)
        assert ran.status_code == 200
        assert ask(guarded, "GET", ran.headers["Location"], acme).status_code == 200


def test_a_token_is_listed_without_its_text_and_refused_once_it_is_revoked_and_forgotten(
    guarded: RunningStack,
) -> None:
    text, token_id = created(guarded, "--tenant", "gone", "--scope", "read", "--expires", "30m")
    _, listed = token_command(guarded, "list", "--tenant", "gone").stdout.splitlines()
    shown = re.fullmatch(rf"{token_id} +gone +read +– +(\d{{4}}-\d\d-\d\d \d\d:\d\d) +valid", listed.strip())
    assert shown, listed
    end = datetime.strptime(shown[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    assert abs(end - datetime.now(UTC) - timedelta(minutes=30)) < timedelta(minutes=2)
    everybodys = token_command(guarded, "list").stdout
    assert token_id in everybodys
    assert "local" in everybodys
    assert text not in everybodys
    done = token_command(guarded, "revoke", token_id)
    assert done.stdout == f"token {token_id} of gone is revoked; calls with it are refused within 60 s\n"
    assert_problem(ask(guarded, "GET", "/crewai/status/x", text), 401, "unauthenticated")  # it was never asked for
    assert "revoked" in token_command(guarded, "list", "--tenant", "gone").stdout
    assert token_command(guarded, "revoke", token_id).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--tenant", "A b"), "1 to 63 of a-z"),
        (("create", "--tenant", "a", "--expires", "soon"), "90d, 12h or 30m"),
        (("create", "--tenant", "a", "--expires", "0d"), "90d, 12h or 30m"),
        (("create", "--tenant", "a", "--scope", "all"), "use one of run, read, admin, webhooks"),
        (("create",), "--tenant"),
        (("revoke", "0123"), "There is no token 0123."),
        (("list", "--stack", "nowhere"), "give --data or --stack, not both"),
    ],
)
def test_what_can_not_be_is_said_and_makes_no_token(
    guarded: RunningStack, arguments: tuple[str, ...], said: str
) -> None:
    before = token_command(guarded, "list").stdout
    failed = token_command(guarded, *arguments)
    assert failed.exit_code in (1, 2)
    assert isinstance(failed.exception, SystemExit)  # nothing unforeseen
    assert said in " ".join(failed.stderr.replace("│", " ").split())
    assert token_command(guarded, "list").stdout == before


def test_a_stack_without_tokens_may_not() -> None:
    host = "0.0.0.0"  # noqa: S104
    failed = serve_and_fail("--port", "0", "--host", host)
    assert failed.returncode == 1
    assert failed.stderr == (
        f"crewrelay: {host} can be reached from other machines without a token: add --auth, or leave out --host\n"
    )


@pytest.mark.parametrize("host", ["::", "0"])
def test_nor_by_another_name_of_every_address(host: str) -> None:
    with pytest.raises(OpenToOthers):
        listen(host, 0)


def test_loopback_has_more_than_one_address(guarded: RunningStack) -> None:
    assert guarded.url.startswith("http://127.0.0.2:")
