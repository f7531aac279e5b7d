"""The models of this process, by name: each is built once, and every agent gets a copy with its own counters."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from crewai import LLM
from crewai.llms.base_llm import BaseLLM
from pydantic import ValidationError

from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.models.providers import NO_KEY, address_and_key, client_options, split_model_name
from crewrelay.jobs.errors import Misconfigured
from crewrelay.settings import ModelSettings

_NO_SECRETS = frozenset({NO_KEY, "ollama", "dummy"})  # placeholders that CrewAI sends to servers that need no key
_SHORTEST = 1.0  # seconds of timeout

Clients = Mapping[str, Callable[[float], Any]]  # by provider
_NONE: Clients = {}


class NewModel(Protocol):
    def __call__(self, name: str | None = None) -> BaseLLM:
        """A model by its name, provider/model; without one, that of CREWRELAY_MODEL. Raises Misconfigured."""


class Models:
    """Thread-safe.

    `hide` is called with every key before its model is used. `clients` builds the client of some providers from a read
    timeout in seconds; CrewAI builds the others.
    """

    def __init__(
        self, settings: ModelSettings, hide: Callable[[str], None] = lambda secret: None, clients: Clients = _NONE
    ) -> None:
        self._settings = settings
        self._hide = hide
        self._clients = clients
        self._prototypes: dict[str, BaseLLM] = {}
        self._turn = threading.Lock()

    def __call__(self, name: str | None = None) -> BaseLLM:
        """Raises Misconfigured if the model's name, package or key is missing or wrong."""
        if name is not None:
            return copy_of(self._prototype(name))
        try:
            return copy_of(self._prototype(self._settings.name))
        except Misconfigured as error:
            raise Misconfigured(f"CREWRELAY_MODEL={error}") from error

    def _prototype(self, name: str) -> BaseLLM:
        with self._turn:
            if name not in self._prototypes:
                model = _build(name, self._settings, self._clients)
                if model.api_key and model.api_key not in _NO_SECRETS:
                    self._hide(model.api_key)
                self._prototypes[name] = model
            return self._prototypes[name]


def copy_of(model: BaseLLM) -> BaseLLM:
    """A copy that counts tokens from zero and shares the client: building one takes 48 ms, mostly TLS contexts."""
    copy = model.model_copy()
    copy._token_usage = type(model).__private_attributes__["_token_usage"].get_default()
    return copy


def for_one_call(model: BaseLLM, seconds: float) -> BaseLLM:
    """A copy whose read timeout is at most so many seconds, and which does not retry.

    Gemini's and Azure's clients take no timeout for one call: theirs is that of the settings.
    """
    copy: Any = copy_of(model)
    for name in ("_client", "_async_client"):
        client: Any = getattr(copy, name, None)
        if options := _options_for_one_call(client, max(_SHORTEST, seconds)):
            setattr(copy, name, client.with_options(**options))
    if getattr(copy, "is_litellm", False):
        timeout = getattr(model, "timeout", None)  # the copy has lost it
        copy.timeout = min(timeout or seconds, max(_SHORTEST, seconds))
        copy.additional_params = {**copy.additional_params, "max_retries": 0}
    built: BaseLLM = copy
    return built


def _options_for_one_call(client: Any, seconds: float) -> dict[str, Any]:
    if not hasattr(client, "with_options"):
        return {}
    late = not isinstance(client.timeout, float | int) or seconds < client.timeout
    options: dict[str, Any] = {"timeout": seconds} if late else {}
    return options | ({"max_retries": 0} if getattr(client, "max_retries", 0) else {})  # they might be paid, too


def _build(name: str, settings: ModelSettings, clients: Clients) -> BaseLLM:
    if name == ExtractiveLLM.NAME:
        return ExtractiveLLM(model=name)
    provider, model = split_model_name(name)
    options: dict[str, Any] = {
        **address_and_key(name, provider, settings),
        **client_options(provider, settings.timeout),
        "stream": settings.stream,
    }
    if provider == "openai" and "base_url" in options:
        options["custom_openai"] = True  # else CrewAI falls back to another of OpenAI's APIs after some errors
    ours = clients[provider](settings.timeout) if provider in clients else None
    try:
        # With a provider: else CrewAI sends names that it doesn't know to LiteLLM.
        llm: Any = LLM(model=model, provider=provider, **options)
        if provider == "azure":  # else it has ten retries and a timeout of five minutes
            ours = type(llm._get_sync_client())(
                **llm._make_client_kwargs(), retry_total=0, read_timeout=settings.timeout
            )
    except Exception as error:  # CrewAI wraps whatever a provider raises in ImportError
        raise Misconfigured(f"{name!r} can't be used: {_reason(error)}") from error
    if ours is not None:
        llm._client = ours
    built: BaseLLM = llm
    return built


def _reason(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return "; ".join(fault["msg"].removeprefix("Value error, ") for fault in cause.errors(include_input=False))
    return (str(error).strip() or type(error).__name__).splitlines()[0]
