"""The model that CREWRELAY_MODEL names, built once; every agent gets a copy with counters of its own."""

import logging
from collections.abc import Callable
from typing import Any

from crewai import LLM
from crewai.llms.base_llm import BaseLLM
from pydantic import ValidationError

from crewrelay.crews.extractive import ExtractiveLLM
from crewrelay.jobs.errors import Misconfigured
from crewrelay.settings import ModelSettings

NewModel = Callable[[], BaseLLM]

_NO_KEY = "none"


def model_factory(settings: ModelSettings) -> NewModel:
    """Raises Misconfigured if the model's name, package or key is missing or wrong."""
    prototype = _build(settings)
    counters = type(prototype).__private_attributes__["_token_usage"]

    def new_model() -> BaseLLM:
        # A copy shares the HTTP client: building one costs 48 ms, nearly all of it TLS contexts.
        model = prototype.model_copy()
        model._token_usage = counters.get_default()
        return model

    return new_model


def _build(settings: ModelSettings) -> BaseLLM:
    name = settings.name
    if name == ExtractiveLLM.NAME:
        return ExtractiveLLM(model=name)
    provider, slash, model = name.partition("/")
    if not (provider and slash and model):
        raise Misconfigured(
            f"CREWRELAY_MODEL={name!r} is not of the form provider/model: "
            f"use {ExtractiveLLM.NAME}, openai/…, ollama/…, bedrock/…"
        )
    options: dict[str, Any] = {
        "base_url": str(settings.base_url) if settings.base_url else None,
        "api_key": _key(settings),
        "timeout": settings.timeout,
        "max_retries": 0,  # a repeat may be paid twice: the job is tried again later, and replays what it has
    }
    logging.getLogger("crewai.llm").setLevel(logging.CRITICAL)  # it logs what it raises
    try:
        llm = LLM(model=name, **{option: value for option, value in options.items() if value is not None})
    except Exception as error:  # CrewAI wraps whatever a provider raises in ImportError
        raise Misconfigured(f"CREWRELAY_MODEL={name!r} can't be used: {_reason(error)}") from error
    if provider == "openai" and not llm.api_key:
        raise Misconfigured(f"CREWRELAY_MODEL={name!r} needs a key: set CREWRELAY_MODEL_API_KEY")
    return llm


def _key(settings: ModelSettings) -> str | None:
    """A server of one's own often wants no key; the client won't start without one."""
    if settings.api_key:
        return settings.api_key.get_secret_value()
    return _NO_KEY if settings.base_url else None


def secrets_of(model: BaseLLM) -> list[str]:
    """What must not be written down: the key, be it from our settings or from a variable that its provider reads."""
    return [model.api_key] if model.api_key and model.api_key != _NO_KEY else []


def _reason(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return "; ".join(fault["msg"].removeprefix("Value error, ") for fault in cause.errors(include_input=False))
    return (str(error).strip() or type(error).__name__).splitlines()[0]
