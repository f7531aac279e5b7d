"""Runs one crew for one job: everything that holds state is built afresh, nothing is shared with another run."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from crewrelay.crews import catalogue
from crewrelay.crews.citations import Bibliography
from crewrelay.crews.models import NewModel, model_factory
from crewrelay.crews.redaction import Redaction
from crewrelay.crews.search import SearchPassages
from crewrelay.crews.tuning import tune_crewai
from crewrelay.jobs.answer import Answer, Usage
from crewrelay.jobs.job import JobInput
from crewrelay.jobs.ports import Retriever
from crewrelay.retrieval.embedded import EmbeddedRetriever
from crewrelay.settings import ModelSettings

if TYPE_CHECKING:
    from crewai.llms.base_llm import BaseLLM


class CrewRunner:
    """The domain's Crew port on CrewAI. Safe to use from many threads at once."""

    def __init__(self, new_model: NewModel, retriever: Retriever, secrets: Sequence[str] = ()) -> None:
        tune_crewai()
        self._new_model = new_model
        self._retriever = retriever
        self._redaction = Redaction(secrets)
        self._redaction.cover_logs()

    def warm_up(self) -> None:
        """Load what the first job would otherwise wait for. Raises StaleIndexError if the index is not the corpus's."""
        self._retriever.retrieve("warm up", top_k=1)

    def run(self, job_input: JobInput) -> Answer:
        bibliography = Bibliography()
        models: list[BaseLLM] = []

        def new_model() -> "BaseLLM":
            models.append(self._new_model())
            return models[-1]

        crew = catalogue.load(job_input.crew)(new_model, SearchPassages(self._retriever, bibliography)).crew()
        try:
            output = crew.kickoff(inputs=dict(job_input.inputs))
        except BaseException as error:
            if (redacted := self._redaction.error(error)) is not error:
                raise redacted from None
            raise
        text, sources = bibliography.cite(output.raw)
        return Answer(text=text, sources=sources, usage=_usage(models))


@cache
def crew_runner() -> CrewRunner:
    """The one of this process, as its settings want it. Raises Misconfigured."""
    settings = ModelSettings.read()
    secrets = [settings.api_key.get_secret_value()] if settings.api_key else []
    return CrewRunner(model_factory(settings), EmbeddedRetriever(), secrets)


def _usage(models: "list[BaseLLM]") -> Usage:
    counted = [model.get_token_usage_summary() for model in models]
    return Usage(
        model=models[0].model if models else "none",
        calls=sum(usage.successful_requests for usage in counted),
        prompt_tokens=sum(usage.prompt_tokens for usage in counted),
        completion_tokens=sum(usage.completion_tokens for usage in counted),
    )
