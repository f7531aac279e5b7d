"""The file of `crewrelay login`, and which address and token a command takes."""

import json
import os
from pathlib import Path

import pytest
import typer

from crewrelay.cli.api import logins
from crewrelay.cli.api.deployment import HERE, endpoint

ONE, TWO = "https://one.example/prod", "https://two.example"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("URL", "STACK", "TOKEN"):
        monkeypatch.delenv(f"CREWRELAY_{name}", raising=False)
    return tmp_path / "crewrelay" / "config.json"


def log_in(url: str, token: str) -> None:
    logins.write(logins.read().with_token(url, token))


def test_the_file_is_for_its_owner_alone(config: Path) -> None:
    log_in(ONE, "a")
    assert (config.stat().st_mode & 0o777, config.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]
    log_in(TWO, "b")
    assert logins.read() == (TWO, {ONE: "a", TWO: "b"})
    logins.write(logins.read().without(TWO))
    assert logins.read() == ("", {ONE: "a"})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_open_is_mended_and_told(
    config: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    log_in(ONE, "a")
    config.chmod(mode)
    assert logins.read().url == ONE
    assert config.stat().st_mode & 0o777 == 0o600
    assert "other users could read" in capsys.readouterr().err
    logins.read()
    assert capsys.readouterr().err == ""


def test_a_file_of_another_user_is_refused(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_in(ONE, "a")
    monkeypatch.setattr(os, "getuid", lambda: config.stat().st_uid + 1)
    with pytest.raises(typer.Exit):
        logins.read()
    assert "belongs to another user" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"url": 1, "tokens": {}}', '{"url": "", "tokens": {"a": 1}}']
)
def test_a_damaged_file_is_named(config: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    log_in(ONE, "a")
    config.write_text(content)
    with pytest.raises(typer.Exit):
        logins.read()
    assert f"{config} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "spelled"),
    [
        ("HTTPS://One.Example:443/prod/", ONE),
        (" https://two.example ", TWO),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://a:80/x", "http://a/x"),
    ],
)
def test_an_address_has_one_spelling(url: str, spelled: str) -> None:
    assert logins.address(url) == spelled


@pytest.mark.parametrize(
    "url", ["", "one.example", "ftp://a", "https://", "https://u:p@a", "https://a?x=1", "https://a#b", "http://a:x"]
)
def test_what_is_no_address_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        logins.address(url)
    assert "is no address" in capsys.readouterr().err


def test_without_anything_it_is_the_stack_on_this_machine() -> None:
    assert endpoint("", "", "") == (HERE, "")


def test_the_last_login_is_called_and_each_has_its_own_token() -> None:
    log_in(ONE, "a")
    log_in(TWO, "b")
    assert endpoint("", "", "") == (TWO, "b")
    assert endpoint(ONE + "/", "", "") == (ONE, "a")
    assert endpoint(ONE, "", "given") == (ONE, "given")
    for other in ("https://one.example", "http://one.example/prod", "https://one.example:8443/prod", HERE):
        assert endpoint(other, "", "") == (other, "")


def test_a_variable_goes_before_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(TWO, "b")
    monkeypatch.setenv("CREWRELAY_URL", ONE)
    monkeypatch.setenv("CREWRELAY_TOKEN", "variable")
    assert endpoint(ONE, "", "variable") == (ONE, "variable")


def test_the_token_of_a_variable_is_not_sent_to_another_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_in(TWO, "b")
    monkeypatch.setenv("CREWRELAY_TOKEN", "variable")
    assert endpoint(TWO, "", "variable") == (TWO, "variable")  # it names no address of its own
    monkeypatch.setenv("CREWRELAY_URL", ONE)
    assert endpoint(TWO, "", "variable") == (TWO, "b")
    assert f"CREWRELAY_TOKEN is for {ONE}, and is not sent to {TWO}" in capsys.readouterr().err
    monkeypatch.delenv("CREWRELAY_URL")
    monkeypatch.setenv("CREWRELAY_STACK", "mine")
    assert endpoint(TWO, "mine", "variable") == (TWO, "b")


def test_the_option_stack_goes_before_the_variable_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from crewrelay.aws import clients

    outputs = {"mine": ONE, "other": TWO}
    monkeypatch.setattr(clients, "output", lambda stack, name: outputs[stack])
    monkeypatch.setenv("CREWRELAY_URL", HERE)
    assert endpoint(HERE, "other", "") == (TWO, "")
    monkeypatch.delenv("CREWRELAY_URL")
    monkeypatch.setenv("CREWRELAY_STACK", "mine")
    monkeypatch.setenv("CREWRELAY_TOKEN", "variable")
    assert endpoint("", "mine", "variable") == (ONE, "variable")
    assert endpoint("", "other", "variable") == (TWO, "")


def test_the_file_has_what_the_commands_need_and_no_more(config: Path) -> None:
    log_in(ONE, "a")
    assert json.loads(config.read_text()) == {"url": ONE, "tokens": {ONE: "a"}}
