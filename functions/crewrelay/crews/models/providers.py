"""The providers that CrewAI supports natively, without LiteLLM, and what each of them needs."""

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, NamedTuple

from crewai.llm import PROVIDER_ALIASES

from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.jobs.errors import Misconfigured
from crewrelay.settings import ModelSettings

NO_KEY = "none"


class Provider(NamedTuple):
    """`keys` are the environment variables of its API key: one of them must be set."""

    keys: tuple[str, ...] = ()
    package: str = ""  # if it is not part of crewrelay[crew]
    install: str = ""
    address: str = ""  # the variable of its address, if CREWRELAY_MODEL_BASE_URL can't set it


# tests/unit/test_models.py compares them with CrewAI's own tables.
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
    """The provider, under CrewAI's canonical name, and its model. Raises Misconfigured."""
    prefix, slash, model = name.partition("/")
    if not (prefix and slash and model):
        raise Misconfigured(
            f"{name!r} is not of the form provider/model: use {ExtractiveLLM.NAME}, openai/…, ollama/…, bedrock/…"
        )
    provider = PROVIDER_ALIASES.get(prefix.lower(), prefix)
    if provider not in PROVIDERS:
        known = ", ".join(sorted(PROVIDERS))
        raise Misconfigured(
            f"{name!r} has an unknown provider: use one of {known}, "
            f"or openai/{model} with CREWRELAY_MODEL_BASE_URL for any OpenAI-compatible server"
        )
    return provider, model


def address_and_key(name: str, provider: str, settings: ModelSettings) -> dict[str, str]:
    """CrewAI's options; it reads what is left out from its own variables. Raises Misconfigured if the key or the
    provider's package is missing.

    The address and key in the settings belong to the provider of CREWRELAY_MODEL; no other is given them.
    """
    needs = PROVIDERS[provider]
    if needs.package and not _installed(needs.package):
        raise Misconfigured(f"{name!r} needs the package {needs.package}: pip install '{needs.install}'")
    ours = settings.name != ExtractiveLLM.NAME and split_model_name(settings.name)[0] == provider
    options: dict[str, str] = {}
    if ours and settings.base_url:
        if needs.address:
            raise Misconfigured(f"{name!r} has no use for CREWRELAY_MODEL_BASE_URL: unset it, or set {needs.address}")
        options["base_url"] = str(settings.base_url)
    if ours and settings.api_key:
        options["api_key"] = settings.api_key.get_secret_value()
    elif provider == "openai" and "base_url" in options:
        options["api_key"] = NO_KEY  # your own server: it must not get OpenAI's key, and the client needs one
    elif needs.keys and not any(os.environ.get(variable) for variable in needs.keys):
        variables = (*(["CREWRELAY_MODEL_API_KEY"] if ours else []), *needs.keys)
        raise Misconfigured(f"{name!r} needs a key: set {' or '.join(variables)}")
    return options


def _installed(package: str) -> bool:
    with suppress(ModuleNotFoundError):  # of its parent package
        return find_spec(package) is not None
    return False


def client_options(provider: str, timeout: float) -> dict[str, Any]:
    """No retries by the client, which might be paid twice: the job is retried, and replays its journal."""
    if provider == "bedrock":  # its client is built by aws/bedrock.py
        return {}
    if provider == "gemini":  # it does not retry
        return {"client_params": {"http_options": {"timeout": round(timeout * 1000)}}}
    return {"timeout": timeout, "max_retries": 0}
