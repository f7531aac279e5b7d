"""infra/layout.sh: which of our own files go where. What is installed beside them: tests/e2e/runtime."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT

# Stands in for uv, and for the compiler.
STUB = """#!/bin/sh
[ "$1" = pip ] || exit 0
mkdir -p "$5/bin" "$5/package/tests" "$5/botocore/data/sqs" "$5/botocore/data/ec2"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the script reads, with a crew of one's own."""
    shutil.copytree(ROOT / "functions", tmp_path / "functions")
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    for name in ("own", "test"):
        (tmp_path / "functions/crews" / name / "config").mkdir(parents=True)
        (tmp_path / "functions/crews" / name / "config/agents.yaml").touch()
        (tmp_path / "functions/crews" / name / ".env").touch()
    (tmp_path / "functions/.crews/given").mkdir(parents=True)
    (tmp_path / "functions/.crews/given/pyproject.toml").touch()
    tools = tmp_path / ".venv/bin"
    tools.mkdir(parents=True)
    for name in ("uv", "python3.11"):
        (tools / name).write_text(STUB)
        (tools / name).chmod(0o755)
    return tmp_path


def laid_out(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(checkout / "infra/layout.sh"), *arguments]
    env = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, env=env, cwd=checkout, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kind", "there", "not_there"),
    [
        ("light", "api intake sweeper botocore/data/sqs", "run worker crewrelay/retrieval botocore/data/ec2"),
        ("crew", "run worker crewrelay/retrieval botocore/data/ec2", "api intake sweeper"),
    ],
)
def test_each_function_has_its_files_and_every_crew(checkout: Path, kind: str, there: str, not_there: str) -> None:
    assert laid_out(checkout, kind, "out").returncode == 0
    for path in [
        "crewrelay/jobs",
        "crews/own/config/agents.yaml",
        "crews/test/config/agents.yaml",
        "crews/given/pyproject.toml",
        *there.split(),
    ]:
        assert (checkout / "out" / path).exists(), path
    for path in ["crewrelay/local", "bin", "package/tests", *not_there.split()]:
        assert not (checkout / "out" / path).exists(), path
    assert not [path for name in ("*.pyc", ".env") for path in (checkout / "out").rglob(name)]


def test_without_crews_of_ones_own_there_are_none(checkout: Path) -> None:
    shutil.rmtree(checkout / "functions/crews")
    shutil.rmtree(checkout / "functions/.crews")
    assert laid_out(checkout, "light", "out").returncode == 0
    assert not (checkout / "out/crews").exists()


def test_what_is_no_kind_of_function_is_refused(checkout: Path) -> None:
    refused = laid_out(checkout, "heavy", "out")
    assert (refused.returncode, refused.stderr) == (2, "layout.sh: heavy is neither light nor crew\n")
    assert not (checkout / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(checkout: Path) -> None:
    refused = laid_out(checkout, "light", "functions")
    assert (refused.returncode, refused.stderr) == (2, f"layout.sh: {checkout}/functions is not empty\n")
    assert (checkout / "functions/api").is_dir()
