"""What the journal is told of a call: under which name, where it was asked, which tokens it counted."""

from decimal import Decimal
from typing import Any

import pytest

from crewrelay.aws import clients
from crewrelay.aws.bedrock import BedrockClient
from crewrelay.crews.journal.journaled import JournaledLLM
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.models.metering import host_of, metered, name_of
from crewrelay.crews.models.models import Models
from crewrelay.prices import PriceList, Prices
from crewrelay.settings import ModelSettings
from crewrelay.testing import Unjournaled
from tests.support.doubles.crew import ScriptedModel

BEDROCK = "bedrock/amazon.nova-lite-v1:0"


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("ACCESS_KEY_ID", "id"), ("SECRET_ACCESS_KEY", "secret"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("OPENAI", "DEEPSEEK", "OPENROUTER"):
        monkeypatch.setenv(f"{name}_API_KEY", "k")
    clients.bedrock.cache_clear()
    clients._session.cache_clear()
    return Models(
        ModelSettings.model_validate({"CREWRELAY_MODEL": "crewrelay/extractive"}), clients={"bedrock": BedrockClient}
    )


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("openai/gpt-4o", "api.openai.com"),
        ("openrouter/openai/gpt-4o", "openrouter.ai"),
        ("deepseek/deepseek-chat", "api.deepseek.com"),
        ("ollama/llama3.2", "localhost"),
        (BEDROCK, "bedrock-runtime.us-east-1.amazonaws.com"),
        ("crewrelay/extractive", None),
    ],
)
def test_a_model_is_named_as_it_was_asked_for_and_its_address_is_known(
    models: Models, name: str, host: str | None
) -> None:
    assert (name_of(models(name)), host_of(models(name))) == (name, host)


def test_a_server_of_ones_own_is_told_from_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"CREWRELAY_MODEL": "openai/gpt-4o", "base_url": "http://127.0.0.1:9/v1"}
    assert host_of(Models(ModelSettings.model_validate(asked))()) == "127.0.0.1"
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://gemini.example:1/")
    gemini: Any = ScriptedModel()
    gemini.provider = "gemini"
    assert host_of(gemini) == "gemini.example"


def counted(model: Any, **tokens: int) -> Any:
    model._token_usage |= tokens
    return model


def test_a_cached_prompt_costs_less_and_counts_in_full_though_bedrock_counts_it_apart(models: Models) -> None:
    prices = Prices.read(None)
    openai = counted(models("openai/gpt-4o"), prompt_tokens=1000, cached_prompt_tokens=800, completion_tokens=100)
    nova = counted(models(BEDROCK), prompt_tokens=200, cached_prompt_tokens=800, completion_tokens=100)
    one, other = metered(openai, "a", prices), metered(nova, "b", prices)
    assert (one.prompt_tokens, one.completion_tokens) == (other.prompt_tokens, other.completion_tokens) == (1000, 100)
    assert (one.cost_usd, other.cost_usd) == (Decimal("0.0025"), Decimal("0.000048"))


def test_a_call_whose_tokens_nobody_told_has_no_cost_and_the_extractive_model_costs_nothing(models: Models) -> None:
    prices = Prices.read(None)
    assert metered(models("openai/gpt-4o"), "a", prices).cost_usd is None
    assert metered(ExtractiveLLM(model=ExtractiveLLM.NAME), "a", prices).cost_usd == 0


def test_what_is_journaled_is_what_this_call_cost_and_no_other() -> None:
    table = {"as_of": "2026-01-02", "usd_per_million_tokens": {"scripted/one": {"input": 1, "output": 10}}}
    calls, model = Unjournaled(), ScriptedModel()
    prices = Prices(own=PriceList.model_validate(table))
    for message in ("x" * 100, "x" * 7):
        JournaledLLM(model, calls, prices).call(message)
    assert [call.reply.cost_usd for call in calls.paid] == [Decimal("0.00011"), Decimal("0.000017")]
    assert calls.usage().cost_usd == Decimal("0.000127")
    JournaledLLM(model, calls).call("without prices")
    assert calls.usage().cost_usd is None


def test_models_of_two_providers_that_share_a_name_are_not_each_others_call(models: Models) -> None:
    asked: list[Any] = []

    class Asked(Unjournaled):
        def call(self, kind: Any, request: dict[str, Any], pay: Any) -> Any:
            asked.append(request["model"])
            raise ConnectionError

    for name in ("openai/gpt-4o", "deepseek/gpt-4o"):
        with pytest.raises(ConnectionError):
            JournaledLLM(models(name), Asked()).call("one")
    assert asked == ["openai/gpt-4o", "deepseek/gpt-4o"]
