"""Keys and variables that lie in Secrets Manager: fetched by ARN when a process starts, and hidden as any other key."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crewrelay.aws import clients
from crewrelay.aws.secrets import secret, variables
from crewrelay.catalogue.catalogue import catalogue
from crewrelay.crews.projects.rehearsal import RehearsedCalls
from crewrelay.jobs.errors import Misconfigured, Unavailable
from crewrelay.jobs.records.job import JobInput
from crewrelay.wiring.crews import crew_runner
from crewrelay.wiring.secrets import embedder_settings, model_settings, retrieval_settings
from tests.support.aws import aws_client
from tests.support.projects import little_flow, read_variables

KEY = "sk-0123456789abcdef"

Put = Callable[..., str]


@pytest.fixture
def put(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Makes a secret; gives its ARN."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    forget()
    client = aws_client("secretsmanager", emulator)
    yield lambda **held: str(client.create_secret(Name=str(uuid.uuid4()), **held)["ARN"])
    client.close()
    forget()


def forget() -> None:
    """As a new process would."""
    if clients.secrets_manager.cache_info().currsize:
        clients.secrets_manager().close()
    for each in (clients.secrets_manager, secret, variables, catalogue, crew_runner):
        each.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(KEY, id="the key itself"),
        pytest.param(f"{KEY}\n", id="the key as a shell writes it"),
        pytest.param(json.dumps({"api_key": KEY, "owner": "me"}), id="a field, as AWS's console writes it"),
    ],
)
def test_a_secret_is_a_key_or_has_one(put: Put, text: str) -> None:
    assert secret(put(SecretString=text)) == KEY


def test_a_key_of_digits_is_a_key(put: Put) -> None:
    assert secret(put(SecretString="0123456789")) == "0123456789"


@pytest.mark.parametrize(
    "held",
    [
        {"SecretString": json.dumps({"key": KEY})},
        {"SecretString": json.dumps({"api_key": None, "other": KEY})},
        {"SecretString": "  "},
        {"SecretBinary": KEY.encode()},
    ],
    ids=["another field", "no text", "blank", "binary"],
)
def test_what_holds_no_key_is_refused_without_telling_what_it_holds(put: Put, held: dict[str, Any]) -> None:
    arn = put(**held)
    with pytest.raises(Misconfigured, match="its field api_key") as refused:
        secret(arn)
    assert arn in str(refused.value)
    assert KEY not in str(refused.value)


def test_a_secret_that_is_not_there_is_misconfigured(put: Put) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf"
    with pytest.raises(Misconfigured, match=rf"secret {arn} refused the request: ResourceNotFoundException"):
        secret(arn)


def test_a_service_that_does_not_answer_may_answer_later(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = put(SecretString=KEY)
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        forget()
        with pytest.raises(Unavailable):
            secret(arn)
    clients.secrets_manager.cache_clear()
    assert secret(arn) == KEY


def test_a_process_fetches_a_secret_once(put: Put) -> None:
    arn = put(SecretString=KEY)
    asked: list[str] = []
    clients.secrets_manager().meta.events.register("before-call", lambda model, **_: asked.append(model.name))
    assert secret(arn) == secret(arn) == KEY
    assert asked == ["GetSecretValue"]


def test_each_of_the_three_keys_may_be_in_a_secret(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CREWRELAY_MODEL_API_KEY", "CREWRELAY_EMBEDDER_API_KEY", "WEAVIATE_API_KEY"):
        monkeypatch.setenv(name, "an older one")
        monkeypatch.setenv(f"{name}_SECRET", put(SecretString=f"{KEY} of {name}"))
    retrieval = retrieval_settings()
    keys = (model_settings().api_key, embedder_settings().api_key, retrieval.weaviate_api_key)
    assert [key and key.get_secret_value() for key in keys] == [
        f"{KEY} of CREWRELAY_MODEL_API_KEY",
        f"{KEY} of CREWRELAY_EMBEDDER_API_KEY",
        f"{KEY} of WEAVIATE_API_KEY",
    ]
    assert KEY not in repr(keys)


def test_a_fetched_key_is_the_models_and_in_nothing_that_is_told(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWRELAY_MODEL", "openai/gpt-4o-mini")
    monkeypatch.setenv("CREWRELAY_MODEL_API_KEY_SECRET", put(SecretString=KEY))
    runner = crew_runner()
    assert runner._new_model().api_key == KEY
    assert KEY not in runner.explain(ValueError(f"no such key: {KEY}")).message


def test_a_project_reads_what_it_names_and_the_secret_has(
    put: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its module reads it when it is imported."""
    folder = little_flow(tmp_path, "return TAKEN", "secretive", "\nimport os\nTAKEN = os.environ['SERPER_API_KEY']\n")
    monkeypatch.setenv("CREWRELAY_CREWS", str(read_variables(folder, "SERPER_API_KEY", "DATABASE_URL")))
    held = {"SERPER_API_KEY": KEY, "DATABASE_URL": "postgres://hidden", "PYTHONPATH": "/elsewhere"}
    monkeypatch.setenv("CREWRELAY_CREWS_SECRET", put(SecretString=json.dumps(held)))
    for name in held:
        monkeypatch.setenv(name, "an older one")
    runner = crew_runner()
    answer = runner.run(JobInput(crew="secretive", inputs={}), RehearsedCalls())
    assert (answer.text, os.environ["PYTHONPATH"]) == (KEY, "an older one")
    assert runner.explain(ValueError(f"{KEY} at postgres://hidden")).message.endswith("[redacted] at [redacted]")


@pytest.mark.parametrize(
    "text", [KEY, json.dumps([KEY]), json.dumps({"A": KEY, "B": 1}), json.dumps({"A": KEY + "\0"})]
)
def test_what_holds_no_variables_is_refused_without_telling_what_it_holds(put: Put, text: str) -> None:
    arn = put(SecretString=text)
    with pytest.raises(Misconfigured, match="must be a JSON object with a text for each variable") as refused:
        variables(arn)
    assert KEY not in str(refused.value)


def test_a_secret_that_no_project_needs_is_not_fetched(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWRELAY_CREWS_SECRET", "arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf")
    crew_runner()


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a parameter of the template that was left empty."""
    for name in ("CREWRELAY_MODEL_API_KEY_SECRET", "CREWRELAY_MODEL_BASE_URL", "CREWRELAY_MODEL"):
        monkeypatch.setenv(name, "")
    settings = model_settings()
    assert (settings.name, settings.base_url, settings.api_key) == ("crewrelay/extractive", None, None)
