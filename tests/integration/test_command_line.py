"""The command as its users start it: exit codes, login, completion, and what it loads."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from crewrelay import __version__
from crewrelay.cli.commands import app
from crewrelay.cli.terminal import Exit
from tests.support.processes import ROOT
from tests.support.scripted_api import ScriptedApi, scripted_api

PAGE = (ROOT / "docs/command-line.md").read_text()
PROBLEM = {"detail": "It is so.", "remedy": "Do this."}
ANSWERED: dict[str, Any] = {"result": "An answer.", "result_url": None, "sources": [], "error": None, "waiting": None}
QUESTION: dict[str, Any] = {
    "message": "Good?",
    "task": "",
    "output": "",
    "options": [],
    "default": None,
    "expires_at": None,
}
MISSING_SCOPE = {"type": "urn:crewrelay:problem:missing_scope", **PROBLEM}


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with scripted_api() as api:
        yield api


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("URL", "STACK", "TOKEN"):
        monkeypatch.delenv(f"CREWRELAY_{name}", raising=False)
    return tmp_path / "crewrelay/config.json"


def command(*arguments: str, input_: str = "") -> Result:
    return CliRunner().invoke(app, arguments, input=input_)


def ended(status: str, **changes: Any) -> list[tuple[int, Any] | None]:
    events = [{"number": 1, "at": "2026-01-02T03:04:05Z", "event": status}]
    return [(200, {"status": status, "events": events}), (200, {"status": status} | ANSWERED | changes)]


EXITS: list[tuple[list[tuple[int, Any] | None], list[str], int]] = [
    (ended("completed"), ["watch", "x"], 0),
    ([(404, PROBLEM)], ["status", "x"], Exit.FAILED),
    ([(401, PROBLEM)], ["jobs"], Exit.FAILED),
    ([], ["jobs", "--limit", "none"], Exit.USAGE),
    ([], ["unheard-of"], Exit.USAGE),
    (ended("failed", error={"message": "The model is gone."}), ["watch", "x"], Exit.JOB_FAILED),
    (ended("cancelled"), ["watch", "x"], Exit.JOB_FAILED),
    (ended("waiting", waiting=QUESTION), ["watch", "x"], Exit.JOB_WAITS),
    (ended("waiting", waiting=QUESTION), ["watch", "x", "--json"], Exit.JOB_WAITS),
    ([None], ["status", "x"], Exit.NO_ANSWER),
    ([(503, PROBLEM)], ["status", "x"], Exit.NO_ANSWER),
    ([(429, PROBLEM)], ["status", "x"], Exit.NO_ANSWER),
]


@pytest.mark.parametrize(("script", "arguments", "code"), EXITS)
def test_an_exit_code_says_how_it_ended(
    api: ScriptedApi, script: list[tuple[int, Any] | None], arguments: list[str], code: int
) -> None:
    api.script = script
    done = command(*arguments, *(["--url", api.url] if script else []))
    assert (done.exit_code, api.script) == (code, []), done.output


def test_the_page_lists_the_exit_codes() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert listed == {0, 130, *map(int, Exit)}
    assert {code for *_, code in EXITS} == {0, *Exit}


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    from crewrelay.cli.api.client import Client

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "status", interrupted)
    assert command("status", "x").exit_code == 130


def all_commands() -> Iterator[tuple[str, set[str]]]:
    """Their names and options."""

    def under(name: str, found: Any) -> Iterator[tuple[str, set[str]]]:
        if not hasattr(found, "commands"):
            yield name, {option for each in found.params for option in each.opts}
            return
        for sub, each in found.commands.items():
            yield from () if each.hidden else under(f"{name} {sub}".strip(), each)

    yield from under("", typer.main.get_command(app))


def test_every_command_prints_json_but_those_that_the_page_names() -> None:
    without = {name for name, options in all_commands() if "--json" not in options}
    assert without == {"serve", "crews check", "crews add"}
    assert "Every command has it but `serve`, `crews check` and `crews add`." in PAGE


def test_the_page_names_every_command() -> None:
    for name, _ in all_commands():
        assert re.search(rf"`{name.partition(' ')[0]}[ `]", PAGE), name


def test_a_login_is_checked_and_then_used(api: ScriptedApi, config: Path) -> None:
    api.script = [(200, {"jobs": [], "next_cursor": None})] * 2
    done = command("login", api.url, input_="crt_secret\n")
    assert done.exit_code == 0, done.output
    assert "crt_secret" not in done.output
    assert config.stat().st_mode & 0o777 == 0o600
    assert command("jobs").exit_code == 0
    assert api.tokens == ["Bearer crt_secret"] * 2
    assert command("logout").exit_code == 0
    assert "crt_secret" not in config.read_text()
    assert "there is no login" in command("logout").stderr


@pytest.mark.parametrize(("answer", "code"), [((401, PROBLEM), 1), (None, 5), ((200, b"<html>"), 1)])
def test_a_login_that_is_refused_is_not_kept(api: ScriptedApi, config: Path, answer: Any, code: int) -> None:
    api.script = [answer]
    assert command("login", api.url, input_="wrong\n").exit_code == code
    assert not config.exists()


def test_a_token_that_may_not_read_is_kept(api: ScriptedApi, config: Path) -> None:
    api.script = [(403, MISSING_SCOPE)]
    assert command("login", api.url, input_="crt_run\n").exit_code == 0
    assert config.exists()


def test_a_redirection_is_not_followed_with_the_token(api: ScriptedApi) -> None:
    with scripted_api() as thief:
        api.script, api.headers = [(302, {})], {"Location": thief.url}
        assert command("jobs", "--url", api.url, "--token", "crt_secret").exit_code == 1
        assert thief.asked == []


@pytest.mark.parametrize(
    ("url", "token", "told"),
    [("http://a.example", "t", True), ("http://a.example", "", False), ("http://[::1]:1", "t", False)],
)
def test_an_address_without_encryption_is_told(
    url: str, token: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewrelay.cli.api.client.Client.check", lambda _: None)
    assert ("not encrypted" in command("login", url, input_=f"{token}\n").stderr) is told


def test_a_browser_is_sent_to_the_page_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    import webbrowser

    opened: list[str] = []

    def open_(url: str) -> bool:
        opened.append(url)
        return len(opened) == 1

    monkeypatch.setattr(webbrowser, "open", open_)
    assert command("open", "a/b", "--url", "https://a.example/prod").exit_code == 0
    assert command("open", "--url", "https://a.example").exit_code == 1
    assert opened == ["https://a.example/prod/#/jobs/a%2Fb", "https://a.example/"]


def test_the_question_of_a_job_is_text(api: ScriptedApi) -> None:
    asked = QUESTION | {"output": "A draft.", "options": ["yes", "no"], "task": "write"}
    api.script = [(200, {"waiting": asked})]
    said = command("answer", "an-id", "--url", api.url).stdout
    assert said.startswith("A draft.\n\nThe task write asks:\n\nGood?\n\nOptions: yes, no\n")
    assert "crewrelay answer an-id --option 'yes'" in said


def test_the_version_is_printed() -> None:
    assert command("--version").stdout == f"crewrelay {__version__}\n"


def test_a_shell_completes_commands_and_options() -> None:
    script = Path(sys.executable).with_name("crewrelay")
    for words, wanted in (("crewrelay ba", "batch"), ("crewrelay jobs --cre", "--created-after")):
        asked = {"_CREWRELAY_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run([script], env=os.environ | asked, capture_output=True, text=True, check=False)
        assert wanted in done.stdout.split(), done


def test_commands_that_call_an_api_load_nothing_heavy(api: ScriptedApi) -> None:
    api.script = [(200, {"jobs": [], "next_cursor": None})]
    heavy = ["crewai", "haystack", "boto3", "fastapi", "numpy", "uvicorn", "rich.markdown", "asyncio.base_events"]
    program = f"""if True:
        import sys
        from crewrelay.cli.main import main
        try:
            main()
        except SystemExit as ended:
            assert not ended.code
        print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
    """
    for arguments in (["--version"], ["jobs", "--url", api.url]):
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1:] == ["[]"], done.stderr


def test_a_token_is_typed_without_echo(api: ScriptedApi, config: Path) -> None:
    api.script = [(200, {"jobs": [], "next_cursor": None})]
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "crewrelay", "login", api.url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    with open(ours, "rb+", buffering=0) as terminal:
        said = b""
        while b"): " not in said:
            said += terminal.read(1000)
        terminal.write(b"crt_secret\n")
        with suppress(OSError):  # its end is closed
            while piece := terminal.read(1000):
                said += piece
    assert process.wait(20) == 0, said
    assert b"Token for " in said
    assert b"crt_secret" not in said
    assert "crt_secret" in config.read_text()


@pytest.mark.parametrize(("options", "is_own"), [(["--own"], True), ([], False)])
def test_a_stack_of_its_own_is_used_if_that_is_asked_for(
    api: ScriptedApi, options: list[str], is_own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def own_stack(*, aws: bool) -> Iterator[str]:
        yield own.url

    monkeypatch.setattr("crewrelay.local.own_stack.own_stack", own_stack)
    monkeypatch.setenv("CREWRELAY_URL", api.url)
    monkeypatch.setenv("CREWRELAY_TOKEN", "crt_secret")
    with scripted_api() as own:
        used, unused, token = (own, api, None) if is_own else (api, own, "Bearer crt_secret")
        used.script = [(202, {"job_id": "an-id"}), *ended("completed")]
        done = command("run", "rain", *options)
        assert (done.exit_code, done.stdout) == (0, "\nAn answer.\n\n"), done.output
        assert (used.tokens, unused.asked) == ([token] * 3, [])
