"""Runs a crew's folder in a test: scripted replies instead of a model, passages instead of a collection, the journal in
memory. How to use it: docs/testing.md.
"""

import atexit
import json
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from crewrelay.catalogue.definition import Definition, read_definition
from crewrelay.catalogue.yaml_file import Faulty
from crewrelay.crews.environment import CREW_ENVIRONMENT
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.answer import Answer, Passage
from crewrelay.jobs.records.job import Job, JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.jobs.running.execution import done_within
from crewrelay.jobs.running.lease import Lease
from crewrelay.jobs.running.run import Run
from crewrelay.system import new_id, utcnow
from crewrelay.testing import MemoryJobStore

# CrewAI reads its switches while it is imported: hence the imports below them.
_FOLDER = tempfile.TemporaryDirectory(prefix="crewrelay-")
atexit.register(_FOLDER.cleanup)
for _name, _value in {**CREW_ENVIRONMENT, "CREWAI_STORAGE_DIR": _FOLDER.name}.items():
    os.environ.setdefault(_name, _value)

from crewai.llms.base_llm import BaseLLM  # noqa: E402
from pydantic import PrivateAttr  # noqa: E402

from crewrelay.crews.running.checks import faults_of  # noqa: E402
from crewrelay.crews.running.runner import CrewRunner  # noqa: E402

_TIME = timedelta(hours=1)


class ToolCall(NamedTuple):
    """A model's reply that calls a tool instead of answering."""

    tool: str
    arguments: Mapping[str, Any]


ModelReply = str | ToolCall


class CrewRun(NamedTuple):
    """`prompts` has the whole conversation of each model call as text, `searches` the queries."""

    answer: Answer
    prompts: list[str]
    searches: list[str]


def passage(title: str, text: str, url: str = "") -> Passage:
    """A passage for the search to find."""
    return Passage(id=title, title=title, url=url, text=text, excerpt=text)


def run_crew(
    folder: Path | str, inputs: Mapping[str, Any], replies: Sequence[ModelReply], passages: Sequence[Passage] = ()
) -> CrewRun:
    """Run the crew, whose models reply with `replies` in turn, and whose searches all find `passages`.

    Then run it again from its journal, as after a crash. Raises AssertionError if it asks for anything that it did not
    ask for in the first run, and if it asks for more replies than there are, or fewer; InvalidCrew if its files are
    wrong; pydantic's ValidationError if the inputs are; and whatever its tools raise.
    """
    model, collection = _ScriptedModel(replies), _Collection(passages)
    definition = _sound(Path(folder), model)
    job_input = JobInput(crew=definition.card.name, inputs=definition.card.inputs.check(dict(inputs)))
    store = MemoryJobStore(utcnow)
    job = _claimed(store, job_input)
    answer = _answer_of(definition, model, collection, store, job, job_input)
    assert not model.replies, f"the crew did not ask for the last {len(model.replies)} replies: {model.replies}"
    journal = store.entries(job)
    resumed = _answer_of(definition, _SilentModel(), collection, store, job, job_input)
    assert store.entries(job) == journal, "when it resumes, the crew searches or calls a tool anew: it is not durable"
    assert resumed.text == answer.text, f"when it resumes, the crew answers something else: {resumed.text}"
    return CrewRun(answer, model.prompts, collection.queries)


def _sound(folder: Path, model: BaseLLM) -> Definition:
    try:
        definition = read_definition(folder.absolute().name, folder)
        faults = faults_of(definition, lambda name: model)
    except Faulty as faulty:
        faults = faulty.faults
    if faults:
        raise InvalidCrew("\n".join(map(str, faults)))
    return definition


def _claimed(store: MemoryJobStore, job_input: JobInput) -> Job:
    policy = Policy(lease=_TIME)
    job = store.create(transitions.submit(new_id(), "test", job_input, utcnow(), policy), job_input)
    claimed = transitions.claim(job, "test", "test", utcnow(), policy)
    store.save(job, claimed)
    return claimed


def _answer_of(
    definition: Definition,
    model: BaseLLM,
    collection: "_Collection",
    store: MemoryJobStore,
    job: Job,
    job_input: JobInput,
) -> Answer:
    runner = CrewRunner(lambda name=None: model, collection, definition_of=lambda crew: definition)
    record = store.load(job.id)
    assert record
    lease, deadline = Lease(store, record.job, utcnow), utcnow() + _TIME
    run = Run(store, utcnow, Policy(), lease, list(store.journal(job)), deadline, True, done_within)
    try:
        run.finish(runner.run(job_input, run))
    except BaseException as error:
        run.stop(error)  # the first error counts
    return run.outcome.result()


class _ScriptedModel(BaseLLM):
    _replies: list[ModelReply] = PrivateAttr()
    _prompts: list[str] = PrivateAttr()
    _turn: Any = PrivateAttr()

    def __init__(self, replies: Sequence[ModelReply]) -> None:
        super().__init__(model="scripted/model")
        self._replies, self._prompts, self._turn = list(replies), [], threading.Lock()

    @property
    def replies(self) -> list[ModelReply]:
        """Those that were not asked for yet. Copies of the model share them."""
        return self._replies

    @property
    def prompts(self) -> list[str]:
        return self._prompts

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        prompt = messages if isinstance(messages, str) else "\n\n".join(str(said.get("content")) for said in messages)
        with self._turn:
            self._prompts.append(prompt)
            assert self._replies, (
                f"the crew asks for reply {len(self._prompts)}, which the test does not have: {prompt}"
            )
            reply = self._replies.pop(0)
        return _tool_calls(reply, len(self._prompts)) if isinstance(reply, ToolCall) else reply

    def supports_function_calling(self) -> bool:
        return True

    def supports_stop_words(self) -> bool:
        return False

    def get_context_window_size(self) -> int:
        return 128_000


class _SilentModel(_ScriptedModel):
    def __init__(self) -> None:
        super().__init__([])

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"when it resumes, the crew asks something else: it is not durable. It asks: {messages}")


def _tool_calls(call: ToolCall, number: int) -> list[dict[str, Any]]:
    """As OpenAI's API has them."""
    function = {"name": call.tool, "arguments": json.dumps(dict(call.arguments))}
    return [{"id": f"call_{number}", "type": "function", "function": function}]


class _Collection:
    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = list(passages)
        self.queries: list[str] = []

    def retrieve(self, query: str, top_k: int = 5, timeout: timedelta | None = None) -> list[Passage]:
        self.queries.append(query)
        return self._passages[:top_k]
