"""Models by name: what each needs, whose key it gets, and how long one call of it may wait."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from crewai.llm import PROVIDER_ALIASES
from crewai.llms.providers.openai_compatible.completion import OPENAI_COMPATIBLE_PROVIDERS
from crewai.llms.providers.snowflake.completion import SNOWFLAKE_TOKEN_ENV_VARS

from crewrelay.aws import clients
from crewrelay.aws.bedrock import BedrockClient
from crewrelay.crews.models import models, providers
from crewrelay.crews.models.models import Clients, Models, for_one_call
from crewrelay.crews.models.providers import PROVIDERS
from crewrelay.jobs.errors import Misconfigured
from crewrelay.settings import ModelSettings

NOVA = "bedrock/amazon.nova-lite-v1:0"
AWS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    keys = [key for provider in PROVIDERS.values() for key in provider.keys]
    addresses = [config.base_url_env for config in OPENAI_COMPATIBLE_PROVIDERS.values() if config.base_url_env]
    aws = [*AWS, "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]
    ours = ["CREWRELAY_MODEL", *(f"CREWRELAY_MODEL_{name}" for name in ("API_KEY", "BASE_URL", "TIMEOUT", "STREAM"))]
    for name in (*keys, *addresses, *aws, *ours, "OPENAI_BASE_URL", "OPENAI_API_BASE", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    clients.bedrock.cache_clear()
    clients._session.cache_clear()
    yield
    clients.bedrock.cache_clear()
    clients._session.cache_clear()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Models]:
    """The models of a process with these variables; `_X` stands for CREWRELAY_MODEL_X."""

    def of(name: str, hide: Callable[[str], None] = lambda _: None, **variables: str) -> Models:
        monkeypatch.setenv("CREWRELAY_MODEL", name)
        for variable, value in variables.items():
            monkeypatch.setenv(f"CREWRELAY_MODEL{variable}" if variable.startswith("_") else variable, value)
        return Models(ModelSettings.read(), hide, {"bedrock": BedrockClient})

    return of


@pytest.mark.parametrize(
    ("name", "variables", "base_url", "key"),
    [
        ("crewrelay/extractive", {}, None, None),
        ("openai/gpt-4o-mini", {"_API_KEY": "k"}, None, "k"),
        ("openai/gpt-4o-mini", {"OPENAI_API_KEY": "k"}, None, "k"),
        ("openai/ft:gpt-4o:acme::1", {"_API_KEY": "k"}, None, "k"),
        ("openai/qwen3", {"_BASE_URL": "http://127.0.0.1:9/v1"}, "http://127.0.0.1:9/v1", "none"),
        (
            "openai/qwen3",
            {"_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": "k"},
            "http://127.0.0.1:9/v1",
            "none",
        ),
        ("ollama/llama3.2", {}, "http://localhost:11434/v1", "ollama"),
        ("ollama/llama3.2", {"OLLAMA_HOST": "models:1234"}, "http://models:1234/v1", "ollama"),
        ("ollama/llama3.2", {"_BASE_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9/v1", "ollama"),
        ("hosted_vllm/qwen", {"_BASE_URL": "http://127.0.0.1:9/v1"}, "http://127.0.0.1:9/v1", "dummy"),
        ("deepseek/anything", {"DEEPSEEK_API_KEY": "k"}, "https://api.deepseek.com/v1", "k"),
        ("openrouter/org/model", {"_API_KEY": "k"}, "https://openrouter.ai/api/v1", "k"),
    ],
)
def test_models_that_need_no_package(
    read: Callable[..., Models], name: str, variables: dict[str, str], base_url: str | None, key: str | None
) -> None:
    model: Any = read(name, **variables, _TIMEOUT="7")()
    assert (model.base_url, model.api_key) == (base_url, key)
    if base_url:
        assert str(model._client.base_url) == f"{base_url}/"
    if key:
        assert (model._client.timeout, model._client.max_retries, model.is_litellm) == (7, 0, False)


def test_a_model_of_bedrock_is_asked_where_and_as_whom_aws_says(read: Callable[..., Models]) -> None:
    model: Any = read(NOVA, **AWS, _TIMEOUT="7")()
    meta = model._client.meta
    assert meta.endpoint_url == "https://bedrock-runtime.eu-central-1.amazonaws.com"
    assert (meta.config.read_timeout, meta.config.retries["total_max_attempts"]) == (7, 1)
    assert model._get_sync_client() is model._client


def test_a_model_of_bedrock_is_not_asked_of_an_emulator_unless_told_so(read: Callable[..., Models]) -> None:
    emulator, there = "http://127.0.0.1:9", "http://127.0.0.1:10"
    with pytest.raises(Misconfigured, match="set AWS_ENDPOINT_URL_BEDROCK_RUNTIME"):
        read(NOVA, **AWS, AWS_ENDPOINT_URL=emulator)()
    model: Any = read(NOVA, AWS_ENDPOINT_URL_BEDROCK_RUNTIME=there)()
    assert model._client.meta.endpoint_url == there


@pytest.mark.parametrize(
    ("name", "variables", "message"),
    [
        ("nonsense", {}, "CREWRELAY_MODEL='nonsense' is not of the form provider/model"),
        ("openai/", {}, "is not of the form"),
        (
            "nobody/knows",
            {},
            "has an unknown provider: use one of .*or openai/knows with CREWRELAY_MODEL_BASE_URL",
        ),
        ("openai/gpt-4o", {}, "needs a key: set CREWRELAY_MODEL_API_KEY or OPENAI_API_KEY"),
        ("deepseek/x", {"OPENAI_API_KEY": "k"}, "set CREWRELAY_MODEL_API_KEY or DEEPSEEK_API_KEY"),
        ("snowflake/x", {"_API_KEY": "k"}, "Set SNOWFLAKE_ACCOUNT_URL"),
        ("deepinfra/x", {"_API_KEY": "k"}, "org/model"),
        ("openai/x", {"_BASE_URL": "nowhere"}, "CREWRELAY_MODEL_BASE_URL: "),
        (NOVA, {**AWS, "_BASE_URL": "http://127.0.0.1:9"}, "set AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
        (NOVA, {"AWS_REGION": "eu-central-1"}, "set AWS_ACCESS_KEY_ID"),
        (NOVA, {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}, "set AWS_REGION"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(
    read: Callable[..., Models],
    name: str,
    variables: dict[str, str],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(Misconfigured, match=message):
        read(name, **variables)()
    assert caplog.records == []  # CrewAI would log it as well: the message may hold an address


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("anthropic/claude-sonnet-4-5", r"pip install 'crewrelay\[anthropic\]'"),
        ("claude/x", r"pip install 'crewrelay\[anthropic\]'"),
        ("gemini/gemini-2.5-flash", "pip install 'google-genai>=1.65,<1.66'"),
        ("azure/gpt-4o", r"pip install 'crewrelay\[azure\]'"),
    ],
)
def test_a_provider_whose_package_is_missing_says_what_to_install(
    read: Callable[..., Models], monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    monkeypatch.setattr(providers, "find_spec", lambda _: None)
    with pytest.raises(Misconfigured, match=f"CREWRELAY_MODEL='{name}' needs the package .*{remedy}"):
        read(name, _API_KEY="k")()


def test_what_is_known_of_providers_is_what_crewai_knows() -> None:
    assert set(PROVIDER_ALIASES.values()) == set(PROVIDERS)
    for name, config in OPENAI_COMPATIBLE_PROVIDERS.items():
        assert PROVIDERS[name].keys == ((config.api_key_env,) if config.api_key_required else ())
    assert PROVIDERS["snowflake"].keys == SNOWFLAKE_TOKEN_ENV_VARS


def test_key_and_address_are_given_to_no_other_provider(read: Callable[..., Models]) -> None:
    new_model = read("openai/own", _API_KEY="ours", _BASE_URL="http://127.0.0.1:9/v1", DEEPSEEK_API_KEY="theirs")
    assert (new_model().api_key, new_model("openai/other").api_key) == ("ours", "ours")
    assert new_model("openai/other").base_url == "http://127.0.0.1:9/v1"
    other, local = new_model("deepseek/chat"), new_model("ollama/llama3.2")
    assert (other.api_key, other.base_url) == ("theirs", "https://api.deepseek.com/v1")
    assert (local.api_key, local.base_url) == ("ollama", "http://localhost:11434/v1")
    with pytest.raises(Misconfigured, match=r"^'cerebras/x' needs a key: set CEREBRAS_API_KEY$"):
        new_model("cerebras/x")


def test_every_key_is_hidden_when_its_model_is_built_and_no_word_that_is_none(read: Callable[..., Models]) -> None:
    hidden: list[str] = []
    new_model = read("openai/x", hidden.append, _API_KEY="ours", DEEPSEEK_API_KEY="theirs")
    new_model()
    assert hidden == ["ours"]
    for name in ("deepseek/x", "deepseek/x", "ollama/x", "hosted_vllm/x", "crewrelay/extractive"):
        new_model(name)
    assert hidden == ["ours", "theirs"]


def test_a_model_is_built_once_and_every_caller_counts_for_itself(
    read: Callable[..., Models], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    build = models._build

    def counted(name: str, settings: ModelSettings, clients: Clients) -> Any:
        built.append(name)
        return build(name, settings, clients)

    monkeypatch.setattr(models, "_build", counted)
    new_model, together = read("ollama/llama3.2"), Barrier(8)

    def ask(_: int) -> Any:
        together.wait(10)
        return new_model()

    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(ask, range(8)))
    assert built == ["ollama/llama3.2"]
    assert len({id(copy._client) for copy in copies}) == 1
    copies[0]._token_usage["prompt_tokens"] += 5
    assert copies[1].get_token_usage_summary().prompt_tokens == 0


@pytest.mark.parametrize(("seconds", "waits"), [(900, 60), (60, 60), (12, 12), (-5, 1)])
def test_one_call_waits_no_longer_than_it_may(read: Callable[..., Models], seconds: float, waits: float) -> None:
    model = read("ollama/llama3.2", **AWS)()
    for_this = for_one_call(model, seconds)
    assert (for_this._client.timeout, for_this._client.max_retries) == (waits, 0)  # type: ignore[attr-defined]
    assert model._client.timeout == 60  # type: ignore[attr-defined]
    assert for_this._client._client is model._client._client  # type: ignore[attr-defined]  # one connection pool
    nova = read(NOVA, **AWS)()
    for_this = for_one_call(nova, seconds)
    assert for_this._client.meta.config.read_timeout == waits  # type: ignore[attr-defined]


def test_the_extractive_model_asks_nobody(read: Callable[..., Models]) -> None:
    assert not hasattr(for_one_call(read("crewrelay/extractive")(), 3), "_client")
