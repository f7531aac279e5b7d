"""The environment variables that a project reads: which may be named, and what is said of those that are missing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewrelay.catalogue.catalogue import Catalogue
from crewrelay.catalogue.project import read_project
from crewrelay.catalogue.yaml_file import Faulty
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.running.checks import faults_of, refuse_broken
from crewrelay.jobs.errors import Misconfigured
from crewrelay.wiring.logs import redaction
from crewrelay.wiring.variables import provide
from tests.support.projects import little_flow, read_variables

LINE = 7  # of the variables


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("SERPER_API_KEY", raising=False)
    monkeypatch.delenv("CREWRELAY_CREWS_SECRET", raising=False)
    redaction.cache_clear()
    yield
    redaction.cache_clear()


def project(folder: Path, *names: str, name: str = "searching") -> Path:
    return read_variables(little_flow(folder, "return 'done'", name), *names)


def test_a_project_names_the_variables_that_it_reads(tmp_path: Path) -> None:
    assert read_project("searching", project(tmp_path, "SERPER_API_KEY", "db_url")).env == ("SERPER_API_KEY", "db_url")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "CREWRELAY_DATA",
            "crewrelay_model",
            "AWS_REGION",
            "aws_access_key_id",
            "PATH",
            "PYTHONPATH",
            "PYTHONHASHSEED",
        ),
        *(
            "LD_PRELOAD",
            "HOME",
            "TMPDIR",
            "_HANDLER",
            "WEAVIATE_URL",
            "CREWAI_STORAGE_DIR",
            "https_proxy",
            "SSL_CERT_FILE",
        ),
    ],
)
def test_a_name_that_would_change_crewrelay_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    folder = project(tmp_path, "SERPER_API_KEY", name)
    with pytest.raises(Faulty) as refused:
        read_project("searching", folder)
    assert str(refused.value).startswith(f"{folder}/pyproject.toml:{LINE + 1}: tool.crewrelay.env: {name} would change")


@pytest.mark.parametrize("name", ["", "A=B", "A B", "1A"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Faulty, match=f":{LINE}: tool.crewrelay.env: {name!r} is no name of a variable; correct it"):
        read_project("searching", project(tmp_path, name))


@pytest.mark.parametrize(("value", "name"), [(None, "unset"), ("", "empty")])
def test_a_missing_variable_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str | None, name: str
) -> None:
    if value is not None:
        monkeypatch.setenv("SERPER_API_KEY", value)
    folder = project(tmp_path, "SERPER_API_KEY", name=name)
    told = f"{folder}/pyproject.toml:{LINE}: SERPER_API_KEY is not set; set it in the environment or its .env, on AWS"
    refuse_broken(Catalogue([tmp_path]), lambda _: ExtractiveLLM(model=ExtractiveLLM.NAME))
    assert told in caplog.text
    monkeypatch.setenv("SERPER_API_KEY", "a-key-of-serper")
    assert faults_of(read_project(name, folder), lambda _: ExtractiveLLM(model=ExtractiveLLM.NAME)) == []


def test_what_a_project_reads_is_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://me:hidden@host")
    monkeypatch.setenv("OTHER_API_KEY", "another-key")  # not named, and read all the same
    monkeypatch.setenv("OTHER_URL", "https://example.org")
    provide([read_project("searching", project(tmp_path, "DATABASE_URL"))])
    told = redaction().text(" ".join(map(os.environ.__getitem__, ("DATABASE_URL", "OTHER_API_KEY", "OTHER_URL"))))
    assert told == "[redacted] [redacted] https://example.org"


def test_without_projects_nothing_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "another-key")
    provide([])
    assert redaction().text("another-key") == "another-key"


def test_a_project_gets_its_own_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of it only what is named, keys and the model; the environment comes first, and nothing of it is logged."""
    for name in ("DATABASE_URL", "MODEL", "OTHER_URL", "EXA_API_KEY", "CREWRELAY_MODEL_API_KEY"):
        monkeypatch.setenv(name, "")  # and so it is gone again after the test
    monkeypatch.setenv("GROQ_API_KEY", "that-of-the-shell")
    folder = project(tmp_path, "DATABASE_URL")
    (folder / ".env").write_text(
        "DATABASE_URL='postgres://me:hidden@host'\nexport EXA_API_KEY=exas-own-key\nMODEL=openai/gpt-4o\n"
        "OTHER_URL=https://example.org\nCREWRELAY_MODEL_API_KEY=none-of-its-own\nGROQ_API_KEY=that-of-the-file\n"
    )
    provide([read_project("searching", folder)])
    assert {name: os.environ[name] for name in ("EXA_API_KEY", "MODEL", "GROQ_API_KEY")} == {
        "EXA_API_KEY": "exas-own-key",
        "MODEL": "openai/gpt-4o",
        "GROQ_API_KEY": "that-of-the-shell",
    }
    assert (os.environ["OTHER_URL"], os.environ["CREWRELAY_MODEL_API_KEY"]) == ("", "")
    told = redaction().text(f"{os.environ['DATABASE_URL']} exas-own-key that-of-the-file openai/gpt-4o")
    assert told == "[redacted] [redacted] [redacted] openai/gpt-4o"


def test_two_files_that_differ_are_told_without_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EXA_API_KEY", "")
    folders = [project(tmp_path, "EXA_API_KEY", name=name) for name in ("first_of_two", "second_of_two")]
    for folder in folders:
        (folder / ".env").write_text(f"EXA_API_KEY=the-key-of-{folder.name}\n")
    provide([read_project(folder.name, folder) for folder in folders])
    assert os.environ["EXA_API_KEY"] == "the-key-of-first_of_two"
    assert f"EXA_API_KEY is not taken from {folders[1]}/.env: the environment has another" in caplog.text
    assert "the-key-of" not in caplog.text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("SERPER_API_KEY=the-key-of-serper".encode("utf-16"), "save it as UTF-8"),
        (b"SERPER_API_KEY=the-key-of-s\xe9rper", "save it as UTF-8"),
        (b"SERPER_API_KEY=the-key\0of-serper", "remove it"),
        (b"'A=B_API_KEY'=the-key-of-serper", "remove it"),
    ],
)
def test_a_file_of_variables_that_is_none_is_refused_with_the_remedy(tmp_path: Path, content: bytes, told: str) -> None:
    folder = project(tmp_path, "SERPER_API_KEY")
    (folder / ".env").write_bytes(content)
    with pytest.raises(Misconfigured) as refused:
        provide([read_project("searching", folder)])
    assert str(refused.value).startswith(f"{folder}/.env ")
    assert told in str(refused.value)
    assert "the-key" not in str(refused.value)
