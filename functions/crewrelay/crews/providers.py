"""The providers of models that CrewAI asks without a go-between, and what each needs before it can be asked."""

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, NamedTuple

from crewai.llm import PROVIDER_ALIASES

from crewrelay.crews.extractive import ExtractiveLLM
from crewrelay.jobs.errors import Misconfigured
from crewrelay.settings import ModelSettings

NO_KEY = "none"


class Provider(NamedTuple):
    """`keys` are CrewAI's variables for a key that it can't do without: one of them is enough."""

    keys: tuple[str, ...] = ()
    package: str = ""  # which does not come with crewrelay[crew]
    install: str = ""
    address: str = ""  # the variable for another address, where CREWRELAY_MODEL_BASE_URL can't give it


# As CrewAI has them; tests/unit/test_models.py fails where its own tables differ.
PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(("OPENAI_API_KEY",)),
    "bedrock": Provider(address="AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
    "ollama": Provider(),
    "ollama_chat": Provider(),
    "hosted_vllm": Provider(),
    "openrouter": Provider(("OPENROUTER_API_KEY",)),
    "deepseek": Provider(("DEEPSEEK_API_KEY",)),
    "cerebras": Provider(("CEREBRAS_API_KEY",)),
    "dashscope": Provider(("DASHSCOPE_API_KEY",)),
    "deepinfra": Provider(("DEEPINFRA_API_KEY",)),
    "snowflake": Provider(("SNOWFLAKE_PAT", "SNOWFLAKE_TOKEN", "SNOWFLAKE_JWT")),
    "anthropic": Provider(("ANTHROPIC_API_KEY",), "anthropic", "crewrelay[anthropic]"),
    "gemini": Provider(
        ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"),
        "google.genai",
        "google-genai>=1.65,<1.66",
        address="GOOGLE_GEMINI_BASE_URL",
    ),
    "azure": Provider((), "azure.ai.inference", "crewrelay[azure]", address="AZURE_ENDPOINT"),
}


def split_model_name(name: str) -> tuple[str, str]:
    """The provider, by the name that CrewAI knows it best by, and the provider's model. Raises Misconfigured."""
    prefix, slash, model = name.partition("/")
    if not (prefix and slash and model):
        raise Misconfigured(
            f"{name!r} is not of the form provider/model: use {ExtractiveLLM.NAME}, openai/…, ollama/…, bedrock/…"
        )
    provider = PROVIDER_ALIASES.get(prefix.lower(), prefix)
    if provider not in PROVIDERS:
        known = ", ".join(sorted(PROVIDERS))
        raise Misconfigured(
            f"{name!r} names no provider that is known: use one of {known}, "
            f"or openai/{model} with CREWRELAY_MODEL_BASE_URL for any OpenAI-compatible server"
        )
    return provider, model


def address_and_key(name: str, provider: str, settings: ModelSettings) -> dict[str, str]:
    """What CrewAI is told; what it isn't, it takes from its own variables. Raises Misconfigured if there is none, or if
    the provider's package is missing.

    The settings' address and key are those of the provider of CREWRELAY_MODEL, and given to no other.
    """
    needs = PROVIDERS[provider]
    if needs.package and not _installed(needs.package):
        raise Misconfigured(f"{name!r} needs the package {needs.package}: pip install '{needs.install}'")
    ours = settings.name != ExtractiveLLM.NAME and split_model_name(settings.name)[0] == provider
    told: dict[str, str] = {}
    if ours and settings.base_url:
        if needs.address:
            raise Misconfigured(f"{name!r} has no use for CREWRELAY_MODEL_BASE_URL: unset it, or set {needs.address}")
        told["base_url"] = str(settings.base_url)
    if ours and settings.api_key:
        told["api_key"] = settings.api_key.get_secret_value()
    elif provider == "openai" and "base_url" in told:
        told["api_key"] = NO_KEY  # a server of one's own: it is not sent OpenAI's key, and the client needs some
    elif needs.keys and not any(os.environ.get(variable) for variable in needs.keys):
        variables = (*(["CREWRELAY_MODEL_API_KEY"] if ours else []), *needs.keys)
        raise Misconfigured(f"{name!r} needs a key: set {' or '.join(variables)}")
    return told


def _installed(package: str) -> bool:
    with suppress(ModuleNotFoundError):  # of what it lies in
        return find_spec(package) is not None
    return False


def client_options(provider: str, timeout: float) -> dict[str, Any]:
    """Nobody but us repeats a call, for a repeat may be paid twice: the job is tried again, and replays what it has."""
    if provider == "bedrock":  # gets a client of ours
        return {}
    if provider == "gemini":  # repeats nothing by itself
        return {"client_params": {"http_options": {"timeout": round(timeout * 1000)}}}
    return {"timeout": timeout, "max_retries": 0}
