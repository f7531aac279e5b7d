"""Embeddings of Amazon Bedrock: the Titan and Cohere models."""

import json
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from crewrelay.aws.clients import error_code
from crewrelay.jobs.errors import Misconfigured, RetrievalUnavailable

_TRANSIENT = frozenset(
    """
    InternalServerException ModelNotReadyException ModelTimeoutException ServiceUnavailableException
    ThrottlingException
    """.split()
)
_COHERE_PURPOSE = {"query": "search_query", "passage": "search_document"}


class BedrockEmbeddings:
    """Titan or Cohere, by the model's name. Raises Misconfigured for any other."""

    def __init__(self, client: Any, model: str) -> None:
        self._client = client
        self._model = model
        self._cohere = "cohere.embed" in model  # an inference profile has a region prefix
        if not self._cohere and "amazon.titan-embed-text" not in model:
            raise Misconfigured(
                f"CREWRELAY_EMBEDDER=bedrock/{model} is not supported: "
                "use bedrock/amazon.titan-embed-text-… or bedrock/cohere.embed-…"
            )

    def __call__(self, texts: Sequence[str], purpose: str) -> list[list[float]]:
        if not self._cohere:
            return [self._invoke({"inputText": text})["embedding"] for text in texts]
        request = {"texts": list(texts), "input_type": _COHERE_PURPOSE[purpose], "embedding_types": ["float"]}
        vectors: list[list[float]] = self._invoke(request | {"truncate": "END"})["embeddings"]["float"]
        return vectors

    def _invoke(self, body: dict[str, Any]) -> dict[str, Any]:
        what = f"The embedder bedrock/{self._model}"
        try:
            answer = self._client.invoke_model(
                modelId=self._model, body=json.dumps(body), contentType="application/json", accept="application/json"
            )
            content: dict[str, Any] = json.loads(answer["body"].read())
        except ClientError as error:
            code = error_code(error)
            if code in _TRANSIENT:
                raise RetrievalUnavailable(f"{what} did not answer: {code}.") from error
            raise Misconfigured(
                f"{what} refused: {code}. Check the model's name and region, and the access to it."
            ) from error
        except (HTTPClientError, BotoConnectionError) as error:
            raise RetrievalUnavailable(f"{what} did not answer: {error}") from error
        except BotoCoreError as error:  # no credentials
            raise Misconfigured(f"{what} can't be called: {error}") from error
        return content
