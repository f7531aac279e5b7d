"""Settings of models, embedders and passage stores, with keys from Secrets Manager filled in."""

from typing import TypeVar

from pydantic import SecretStr

from crewrelay.settings import EmbedderSettings, ModelSettings, RetrievalSettings

_S = TypeVar("_S", ModelSettings, EmbedderSettings, RetrievalSettings)


def model_settings() -> ModelSettings:
    """From the environment, secrets resolved. Raises Misconfigured, Unavailable."""
    return _with_keys(ModelSettings.read())


def embedder_settings() -> EmbedderSettings:
    """From the environment, secrets resolved. Raises Misconfigured, Unavailable."""
    return _with_keys(EmbedderSettings.read())


def retrieval_settings(collection: str = "") -> RetrievalSettings:
    """From the environment, secrets resolved; `collection` overrides its. Raises Misconfigured, Unavailable."""
    settings = _with_keys(RetrievalSettings.read())
    return settings.model_copy(update={"collection": collection}) if collection else settings


def _with_keys(settings: _S) -> _S:
    """Fill in the key of each secret that an `…_secret` names; it overrides a key in the environment."""
    arns = {name.removesuffix("_secret"): arn for name, arn in settings if name.endswith("_secret") and arn}
    if not arns:
        return settings
    from crewrelay.aws.secrets import secret

    return settings.model_copy(update={name: SecretStr(secret(arn)) for name, arn in arns.items()})
