"""What `crewrelay serve` keeps its jobs in, and which extra that takes."""

import tomllib
from pathlib import Path

import pytest
import typer

from crewrelay.cli.machine import engine
from crewrelay.cli.machine.engine import engine_of
from crewrelay.local.engines import OnAws, OnSqlite
from tests.support.processes import ROOT

LOCALSTACK = "http://127.0.0.1:4566"


@pytest.fixture(autouse=True)
def no_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ENDPOINT_URL", *(f"AWS_ENDPOINT_URL_{name}" for name in ("DYNAMODB", "SQS", "S3"))):
        monkeypatch.delenv(variable, raising=False)


def without_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)


def test_a_folder_is_the_default_and_needs_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    without_emulator(monkeypatch)
    assert engine_of(None, aws=False).describe() == f"jobs in {Path('.crewrelay').absolute()}"
    assert engine_of(Path("/data"), aws=False).describe() == "jobs in /data"


def test_an_endpoint_in_the_environment_is_used_without_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    without_emulator(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", LOCALSTACK)
    for aws in (False, True):
        assert isinstance(engine_of(None, aws), OnAws)
    assert isinstance(engine_of(Path("/data"), aws=False), OnSqlite)  # what is asked for goes first


def test_aws_without_an_endpoint_needs_the_emulator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(engine_of(None, aws=True), OnAws)
    without_emulator(monkeypatch)
    with pytest.raises(typer.Exit):
        engine_of(None, aws=True)
    assert "install crewrelay[emulator], or set AWS_ENDPOINT_URL" in capsys.readouterr().err


def test_only_the_extra_emulator_has_the_emulator() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    having = {name for name, packages in extras.items() if "moto" in str(packages) or "cheroot" in str(packages)}
    assert having == {"emulator"}
    reached, found = ["local"], set()
    while reached:
        found.add(name := reached.pop())
        reached += [part for p in extras[name] if p.startswith("crewrelay[") for part in p[10:-1].split(",")]
    assert "emulator" not in found
