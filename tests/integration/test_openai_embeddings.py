"""The embedder of OpenAI-compatible servers, against a scripted one in its own process."""

import httpx
import numpy as np
import pytest

from crewrelay.jobs.errors import CrewrelayError, Misconfigured, RetrievalUnavailable
from crewrelay.retrieval.embedders.openai import OpenAIEmbeddings
from crewrelay.retrieval.embedders.remote import RemoteEmbedder
from tests.support.doubles.embedder import bag_of_words
from tests.support.processes import listening

KEY = "sk-a-key-that-nobody-may-read"


def embedder(port: int, timeout: float = 5) -> RemoteEmbedder:
    return RemoteEmbedder("openai/words", OpenAIEmbeddings("words", f"http://127.0.0.1:{port}/v1", KEY, timeout))


@pytest.mark.parametrize("order", [(), ("--backwards",)])
def test_every_text_gets_its_vector(order: tuple[str, ...]) -> None:
    texts = [f"text number {number}" for number in range(100)]
    with listening("tests.support.doubles.embedding_server", *order) as port:
        vectors = embedder(port).passages(texts)
        log = httpx.get(f"http://127.0.0.1:{port}/log").json()
    assert np.allclose(vectors, [bag_of_words(text) for text in texts], atol=1e-6)
    assert log == [{"model": "words", "texts": count, "key": KEY, "status": 200} for count in (64, 36)]


@pytest.mark.parametrize(
    ("script", "expected", "message"),
    [
        (("--statuses", "401"), Misconfigured, "check CREWRELAY_EMBEDDER_API_KEY"),
        (("--statuses", "403"), Misconfigured, "may not use this model"),
        (("--statuses", "404"), Misconfigured, "no such model"),
        (("--statuses", "400"), Misconfigured, "scripted 400 for …"),
        (("--statuses", "429"), RetrievalUnavailable, "answered 429"),
        (("--statuses", "429", "--code", "insufficient_quota"), Misconfigured, "no quota left"),
        (("--statuses", "500"), RetrievalUnavailable, "answered 500"),
        (("--statuses", "503"), RetrievalUnavailable, "answered 503"),
        (("--answer", "{"), RetrievalUnavailable, "openai/words"),
        (("--answer", "{}"), RetrievalUnavailable, "openai/words"),
        (("--answer", '{"data": []}'), RetrievalUnavailable, "openai/words"),
        (("--delay", "30"), RetrievalUnavailable, "can't be reached"),
    ],
)
def test_every_refusal_is_an_error_of_ours_that_repeats_no_key_and_is_asked_once(
    script: tuple[str, ...], expected: type[CrewrelayError], message: str
) -> None:
    with listening("tests.support.doubles.embedding_server", *script) as port:
        with pytest.raises(expected, match=message) as raised:
            embedder(port, timeout=0.5 if "--delay" in script else 5).query("text")
        assert len(httpx.get(f"http://127.0.0.1:{port}/log").json()) == 1
    assert KEY not in str(raised.value)


def test_a_server_that_is_not_there_may_come_back() -> None:
    with pytest.raises(RetrievalUnavailable, match="can't be reached"):
        embedder(9).query("text")  # discard: nobody listens
