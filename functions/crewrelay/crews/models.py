"""The models of this process, by name: each built once, and every agent gets a copy with counters of its own."""

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from crewai import LLM
from crewai.llms.base_llm import BaseLLM
from pydantic import ValidationError

from crewrelay.crews.extractive import ExtractiveLLM
from crewrelay.jobs.errors import Misconfigured
from crewrelay.settings import ModelSettings

_NO_KEY = "none"


class NewModel(Protocol):
    def __call__(self, name: str | None = None) -> BaseLLM:
        """A model by its name, provider/model; without one, that of CREWRELAY_MODEL. Raises Misconfigured."""


class Models:
    """Safe to use from many threads. `hide` is told every key that is used, before it is."""

    def __init__(self, settings: ModelSettings, hide: Callable[[str], None] = lambda secret: None) -> None:
        self._settings = settings
        self._hide = hide
        self._prototypes: dict[str, BaseLLM] = {}
        self._turn = threading.Lock()

    def __call__(self, name: str | None = None) -> BaseLLM:
        """Raises Misconfigured if the model's name, package or key is missing or wrong."""
        return copy_of(self._prototype(name or self._settings.name))

    def _prototype(self, name: str) -> BaseLLM:
        with self._turn:
            if name not in self._prototypes:
                model = _build(name, self._settings)
                if model.api_key and model.api_key != _NO_KEY:
                    self._hide(model.api_key)
                self._prototypes[name] = model
            return self._prototypes[name]


def copy_of(model: BaseLLM) -> BaseLLM:
    """It counts from zero and shares the client: building one costs 48 ms, nearly all of it TLS contexts."""
    copy = model.model_copy()
    copy._token_usage = type(model).__private_attributes__["_token_usage"].get_default()
    return copy


def _build(name: str, settings: ModelSettings) -> BaseLLM:
    if name == ExtractiveLLM.NAME:
        return ExtractiveLLM(model=name)
    provider, slash, model = name.partition("/")
    if not (provider and slash and model):
        raise Misconfigured(
            f"CREWRELAY_MODEL={name!r} is not of the form provider/model: "
            f"use {ExtractiveLLM.NAME}, openai/…, ollama/…, bedrock/…"
        )
    ours = provider == settings.name.partition("/")[0]  # the settings' key and URL are those of its provider
    options: dict[str, Any] = {
        "base_url": str(settings.base_url) if ours and settings.base_url else None,
        "api_key": _key(settings) if ours else None,
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


def _reason(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return "; ".join(fault["msg"].removeprefix("Value error, ") for fault in cause.errors(include_input=False))
    return (str(error).strip() or type(error).__name__).splitlines()[0]
