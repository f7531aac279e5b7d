"""One tenant never finds another's documents: two tokens through the authorizer, and the collections of each."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.events.authorizer import Authorizer
from crewrelay.jobs.access import Scope as Granted
from crewrelay.jobs.access import Tokens, issue
from crewrelay.local.authorization import Authorization
from crewrelay.local.resources import load_template
from crewrelay.local.stack import TEMPLATE
from crewrelay.retrieval.collection import Collections, Embedding
from crewrelay.retrieval.embedded.collections import EmbeddedCollections
from crewrelay.retrieval.weaviate.collections import WeaviateCollections
from crewrelay.settings import RetrievalSettings
from crewrelay.sqlite.tokens import SqliteTokens
from crewrelay.system import utcnow
from crewrelay.testing import MemoryTokens
from crewrelay.wiring import retrieval
from tests.support.doubles.embedder import DIMENSION, WordEmbedder
from tests.support.fixtures import Storage
from tests.support.http_apps import api_app, assert_problem, assert_untouched, run_app
from tests.support.passages import put
from tests.support.weaviate import WeaviateDouble

TOPIC = "What is the password of the vault?"
WORDS = Embedding("fake/words", DIMENSION)
_numbers = count(1)


@pytest.fixture(params=["memory", "sqlite", "dynamo"])
def tokens(request: pytest.FixtureRequest) -> Tokens:
    if request.param == "memory":
        return MemoryTokens(utcnow)
    if request.param == "sqlite":
        return SqliteTokens(request.getfixturevalue("database"), utcnow)
    storage: Storage = request.getfixturevalue("storage")
    return DynamoTokens(storage.dynamodb, storage.table, utcnow)


@pytest.fixture(params=["embedded", "weaviate"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Collections]:
    """Each tenant's collection, and the one for all."""
    if request.param == "embedded":
        made: Collections = EmbeddedCollections(tmp_path)
    else:
        weaviate: WeaviateDouble = request.getfixturevalue("weaviate")
        made = WeaviateCollections(weaviate.server, f"tenants-{next(_numbers)}")
    for name in ("acme", "zoo", "documents"):
        put(made.create(name, WORDS), "vault", f"The password of the vault is {name}-secret.")
    yield made
    for name in made.names():
        made.delete(name)
    made.close()


class Service:
    """Both apps behind the authorizer, with the keyless model over the collections."""

    def __init__(self, storage: Storage, tokens: Tokens, stores: Collections) -> None:
        self.storage, self._tokens = storage, tokens
        retriever = retrieval.retriever(stores, RetrievalSettings.read(), WordEmbedder())
        crew = CrewRunner(lambda *_: ExtractiveLLM(model=ExtractiveLLM.NAME), retriever, retriever_of=retriever.of)
        run, api = run_app(storage, crew, anonymous=None), api_app(storage, anonymous=None)

        async def route(scope: Scope, receive: Receive, send: Send) -> None:
            await (run if scope["path"] == "/crewai/run" else api)(scope, receive, send)

        authorizer = Authorizer(tokens, utcnow)
        gateway = Authorization(route, lambda event, _: authorizer.answer(event), load_template(TEMPLATE))
        self._client = TestClient(gateway)

    def token(self, tenant: str, *collections: str) -> str:
        now = utcnow()
        end, granted = now + timedelta(hours=1), frozenset(Granted)
        return issue(self._tokens, tenant, granted, now, end, lambda n: next(_numbers).to_bytes(n, "big"), collections)[
            0
        ]

    def post(self, path: str, token: str, **body: Any) -> Any:
        asked = {"topic": TOPIC, "language": "en"} | body
        return self._client.post(path, json=asked, headers={"Authorization": f"Bearer {token}"})

    def answer(self, token: str, **body: Any) -> str:
        answer = self.post("/crewai/run", token, **body)
        assert answer.status_code == 200, answer.text
        return str(answer.json())


@pytest.fixture
def service(storage: Storage, tokens: Tokens, stores: Collections) -> Service:
    return Service(storage, tokens, stores)


def secrets_in(answer: str) -> set[str]:
    return {name for name in ("acme", "zoo", "documents") if f"{name}-secret" in answer}


def test_each_token_finds_what_its_collections_have_and_nothing_else(service: Service) -> None:
    acme, zoo = service.token("acme", "acme"), service.token("zoo", "zoo", "documents")
    anybody = service.token("else")
    assert secrets_in(service.answer(acme)) == {"acme"}
    assert secrets_in(service.answer(acme, collection="acme")) == {"acme"}
    assert secrets_in(service.answer(zoo)) == {"zoo"}  # its first
    assert secrets_in(service.answer(zoo, collection="documents")) == {"documents"}
    assert secrets_in(service.answer(anybody)) == {"documents"}


@pytest.mark.parametrize("path", ["/crewai/run", "/crewai/run/async"])
def test_a_collection_of_another_is_refused_and_nothing_is_written(
    storage: Storage, stores: Collections, path: str
) -> None:
    service = Service(storage, MemoryTokens(utcnow), stores)
    acme, anybody = service.token("acme", "acme"), service.token("else")
    for token, name, allowed in (
        (acme, "zoo", "only acme"),
        (acme, "documents", "only acme"),
        (acme, "absent", "only acme"),  # as one that there is
        (anybody, "acme", "only the deployment's own, without naming it"),
    ):
        problem = assert_problem(service.post(path, token, collection=name), 403, "foreign_collection")
        assert f"may not search the collection {name}, {allowed}" in problem["detail"]
        assert "crewrelay token create --collection" in problem["remedy"]
    for bad in ("A", "../zoo", "", "a" * 64):
        assert_problem(service.post(path, acme, collection=bad), 422, "invalid_request")
    assert_untouched(storage)
