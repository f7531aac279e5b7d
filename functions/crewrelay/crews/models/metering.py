"""Tokens and cost of one call of a model."""

import os
from typing import Any
from urllib.parse import urlsplit

from crewai.llms.base_llm import BaseLLM

from crewrelay.crews.models.providers import PROVIDERS
from crewrelay.jobs.records.journal import Reply
from crewrelay.prices import Prices, Tokens


def metered(inner: BaseLLM, body: str, prices: Prices) -> Reply:
    """The reply with its tokens and cost. `inner` has counted this call only: see models.for_one_call."""
    counted, name = inner.get_token_usage_summary(), name_of(inner)
    tokens = Tokens(
        # Bedrock counts cached tokens separately.
        counted.prompt_tokens + (counted.cached_prompt_tokens if inner.provider == "bedrock" else 0),
        counted.completion_tokens,
        counted.cached_prompt_tokens,
        counted.cache_creation_tokens,
    )
    return Reply(
        body=body,
        model=name,
        prompt_tokens=tokens.prompt,
        completion_tokens=tokens.completion,
        cost_usd=prices.cost(name, tokens, host_of(inner)),
    )


def name_of(model: BaseLLM) -> str:
    """provider/model, as in CREWRELAY_MODEL. CrewAI's own models leave their provider out, LiteLLM's don't."""
    if getattr(model, "is_litellm", False):
        return model.model
    return f"{model.provider}/{model.model}" if model.provider in PROVIDERS else model.model


def host_of(model: BaseLLM) -> str | None:
    """The host of its API, from its client or its environment variable; None if neither has it."""
    client: Any = getattr(model, "_client", None)
    meta = getattr(client, "meta", None)  # Bedrock's
    url = getattr(client, "base_url", None) or getattr(meta, "endpoint_url", None)
    needs = PROVIDERS.get(model.provider)
    if url is None and needs and needs.address:
        url = os.environ.get(needs.address)
    return urlsplit(str(url)).hostname if url else None
