"""Runs one crew for one job. Whatever holds state is built for the run; runs share only clients and the retriever."""

from collections.abc import Callable

from crewai.llms.base_llm import BaseLLM

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.definition import Definition
from crewrelay.catalogue.project import Project
from crewrelay.catalogue.yaml_file import Faulty
from crewrelay.crews.journal import durable
from crewrelay.crews.journal.ambient import journaling
from crewrelay.crews.journal.journaled import JournaledLLM, fair_share
from crewrelay.crews.journal.journaled_tools import JournaledRetriever
from crewrelay.crews.journal.workplace import working_in_a_copy
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.keyless.phrases import refusal
from crewrelay.crews.models import failures
from crewrelay.crews.models.models import NewModel
from crewrelay.crews.passages.citations import Bibliography
from crewrelay.crews.passages.search import TOP_K, SearchPassages
from crewrelay.crews.projects.kickoff import new_kickoff
from crewrelay.crews.running.building import build
from crewrelay.crews.running.tuning import complete_models, tune_crewai
from crewrelay.jobs.errors import CollectionMissing, InvalidCrew
from crewrelay.jobs.ports import Calls, Retriever
from crewrelay.jobs.records.answer import Answer, Usage
from crewrelay.jobs.records.job import Failure, JobInput
from crewrelay.prices import Prices


class CrewRunner:
    """The Crew port on CrewAI. `retriever_of` gives the retriever of a collection that a job names. Thread-safe."""

    def __init__(
        self,
        new_model: NewModel,
        retriever: Retriever,
        redacted: Callable[[str], str] = str,
        prices: Prices | None = None,
        definition_of: Callable[[str], Definition | Project] = lambda crew: catalogue().definition(crew),
        retriever_of: Callable[[str], Retriever] | None = None,
    ) -> None:
        tune_crewai()
        complete_models()
        self._new_model = new_model
        self._retriever = retriever
        self._redacted = redacted
        self._prices = prices
        self._definition_of = definition_of
        self._retriever_of = retriever_of

    def warm_up(self) -> None:
        """Load index and embedder before the first job. Raises StaleIndexError if the index is of another corpus."""
        self._retriever.retrieve("warm up", top_k=1)

    def fingerprint(self, job_input: JobInput) -> str:
        try:
            definition = self._definition_of(job_input.crew)
        except InvalidCrew:  # removed since the job was accepted: run() raises it again, and the job fails
            return durable.fingerprint(job_input.crew, "", "")
        models = [self._new_model(name) for name in ([None] if isinstance(definition, Project) else definition.models)]
        names = "\n".join(sorted(_named(model) for model in models))
        return durable.fingerprint(job_input.crew, definition.digest, names)

    def run(self, job_input: JobInput, calls: Calls) -> Answer:
        definition = self._definition_of(job_input.crew)
        if isinstance(definition, Project):
            return self._run_project(definition, job_input, calls)
        return self._run_definition(definition, job_input, calls)

    def _run_project(self, project: Project, job_input: JobInput, calls: Calls) -> Answer:
        with (
            working_in_a_copy(project.folder) as workplace,
            journaling(calls, self._prices, self._new_model, workplace),
        ):
            try:
                kickoff = new_kickoff(project)
            except Faulty as faulty:
                told = str(faulty).replace(f"{project.folder.parent}/", "")  # a caller reads it
                raise InvalidCrew(told) from faulty
            return Answer(text=kickoff(job_input.inputs), usage=calls.usage(), files=workplace.files())

    def _run_definition(self, definition: Definition, job_input: JobInput, calls: Calls) -> Answer:
        bibliography = Bibliography()
        smallest = min(self._new_model(name).get_context_window_size() for name in definition.models)
        retriever = JournaledRetriever(self._searching(job_input.collection), calls, bibliography)
        search = SearchPassages(retriever, bibliography, longest=fair_share(smallest) // TOP_K)

        def model_of(name: str | None) -> JournaledLLM:
            return JournaledLLM(self._new_model(name), calls, self._prices)

        crew = build(definition, job_input.inputs, model_of, search)
        with journaling(calls, self._prices):
            output = durable.make_durable(crew, calls).kickoff()
        text = output.raw  # type: ignore[union-attr]  # it does not stream
        return _answer(text, bibliography, str(job_input.inputs.get("language", "")), calls.usage())

    def _searching(self, collection: str | None) -> Retriever:
        if collection is None:
            return self._retriever
        if self._retriever_of is None:
            raise CollectionMissing(f"There is no collection {collection} here.")
        return self._retriever_of(collection)

    def explain(self, error: BaseException) -> Failure:
        return failures.explain(error, self._redacted)


def _named(model: BaseLLM) -> str:
    """What decides a model's replies: its name and place, and of the keyless one our code."""
    version = f" version {model.VERSION}" if isinstance(model, ExtractiveLLM) else ""
    return f"{model.model} at {model.base_url}{version}"


def _answer(text: str, bibliography: Bibliography, language: str, usage: Usage) -> Answer:
    declined = refusal(text, language)
    if declined is not None:
        no_passages = Bibliography()  # removes every citation
        return Answer(text=no_passages.cite(declined).text, answerable=False, usage=usage)
    cited = bibliography.cite(text)
    answerable = bool(cited.sources) if bibliography.searched else None
    return Answer(
        text=cited.text, sources=cited.sources, answerable=answerable, unknown_citations=cited.unknown, usage=usage
    )
