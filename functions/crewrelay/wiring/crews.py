"""Builds what runs crews: models, retrieval and prices."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from random import random
from typing import cast

from crewrelay.aws.bedrock import BedrockClient
from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.project import Project
from crewrelay.crews.models.models import Models
from crewrelay.crews.running.checks import refuse_broken
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.ports import Doorbell, JobStore
from crewrelay.jobs.running.execution import Execution
from crewrelay.prices import Prices
from crewrelay.settings import JobSettings, ModelSettings
from crewrelay.system import new_id, this_process, utcnow
from crewrelay.wiring import retrieval
from crewrelay.wiring.logs import redaction
from crewrelay.wiring.secrets import embedder_settings, model_settings, retrieval_settings
from crewrelay.wiring.variables import provide


def models(settings: ModelSettings) -> Models:
    return Models(settings, redaction().hide, {"bedrock": BedrockClient})


@cache
def crew_runner() -> CrewRunner:
    """The process's crew runner. Raises Misconfigured, InvalidCrew, Unavailable."""
    passages, vectors, model = retrieval_settings(), embedder_settings(), model_settings()
    for key in filter(None, (passages.weaviate_api_key, vectors.api_key)):
        redaction().hide(key.get_secret_value())
    provide(_projects())
    prices = Prices.read(model.prices)
    new_model = models(model)
    new_model()  # fail at start if it can't be used
    refuse_broken(catalogue(), new_model)
    retriever = retrieval.retriever(retrieval.collections(passages), passages, retrieval.embedder(vectors))
    return CrewRunner(new_model, retriever, redaction().text, prices, retriever_of=retriever.of)


def _projects() -> Iterator[Project]:
    """The projects of CrewAI's own that can be read."""
    for name in filter(catalogue().is_project, catalogue().names()):
        with suppress(InvalidCrew):  # refuse_broken tells
            yield cast(Project, catalogue().definition(name))


def execution(settings: JobSettings, store: JobStore, doorbell: Doorbell) -> Execution:
    """Runs crews on threads of this process."""
    return Execution(store, doorbell, crew_runner(), utcnow, new_id, random, settings.policy(), process=this_process)
