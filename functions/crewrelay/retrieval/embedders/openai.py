"""Embeddings of OpenAI, or of any server with a compatible API.

Uses the client directly: Haystack's embedders require documents, merge equal ones, and log the errors that they raise.
"""

from collections.abc import Sequence

import openai

from crewrelay.jobs.errors import CrewrelayError, Misconfigured, RetrievalUnavailable
from crewrelay.retrieval.embedders.remote import Purpose

_PERMANENT = {
    401: "it refused the key; check CREWRELAY_EMBEDDER_API_KEY",
    403: "the key may not use this model; check CREWRELAY_EMBEDDER_API_KEY",
    404: "there is no such model; check CREWRELAY_EMBEDDER and CREWRELAY_EMBEDDER_BASE_URL",
}


class OpenAIEmbeddings:
    def __init__(self, model: str, base_url: str | None, api_key: str, timeout: float) -> None:
        self._model = model
        # No retries here: the job is retried, and ingestion wraps this in PersistentEmbedder.
        self._client = openai.OpenAI(base_url=base_url, api_key=api_key, timeout=timeout, max_retries=0)

    def __call__(self, texts: Sequence[str], purpose: Purpose) -> list[list[float]]:
        try:
            answer = self._client.embeddings.create(model=self._model, input=list(texts), encoding_format="float")
            # Some servers return the vectors in the order of completion.
            return [one.embedding for one in sorted(answer.data, key=lambda one: one.index)]
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except openai.APIConnectionError as error:
            raise RetrievalUnavailable(f"The embedder openai/{self._model} can't be reached: {error}") from error
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:  # not a valid response
            raise RetrievalUnavailable(f"The embedder openai/{self._model} returned no vectors: {error}") from error

    def _refusal(self, error: openai.APIStatusError) -> CrewrelayError:
        status = error.status_code
        if error.code == "insufficient_quota":
            return Misconfigured(f"The embedder openai/{self._model} has no quota left for this key.")
        if status in (408, 409, 429) or status >= 500:
            return RetrievalUnavailable(f"The embedder openai/{self._model} answered {status}.")
        # The server's message may contain the key.
        said = _PERMANENT.get(status) or error.message.replace(self._client.api_key, "…")
        return Misconfigured(f"The embedder openai/{self._model} answered {status}: {said}.")
