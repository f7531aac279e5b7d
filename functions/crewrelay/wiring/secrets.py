"""The settings of models, embedders and stores, with the keys that are kept in Secrets Manager."""

from typing import TypeVar

from pydantic import SecretStr

from crewrelay.settings import EmbedderSettings, ModelSettings, RetrievalSettings

_S = TypeVar("_S", ModelSettings, EmbedderSettings, RetrievalSettings)


def model_settings() -> ModelSettings:
    """From the environment, with secrets resolved; so the next two. Raises Misconfigured, Unavailable."""
    return _with_keys(ModelSettings.read())


def embedder_settings() -> EmbedderSettings:
    return _with_keys(EmbedderSettings.read())


def retrieval_settings(collection: str = "") -> RetrievalSettings:
    """`collection` goes before the environment's."""
    settings = _with_keys(RetrievalSettings.read())
    return settings.model_copy(update={"collection": collection}) if collection else settings


def _with_keys(settings: _S) -> _S:
    """The value of a secret that an `…_secret` names goes before a key in the environment."""
    arns = {name.removesuffix("_secret"): arn for name, arn in settings if name.endswith("_secret") and arn}
    if not arns:
        return settings
    from crewrelay.aws.secrets import secret

    return settings.model_copy(update={name: SecretStr(secret(arn)) for name, arn in arns.items()})
