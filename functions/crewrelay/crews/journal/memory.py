"""The memory of a project's crews, agents and flows, as one of the run: see ambient.py and remembered.py.

A save or a recall is journaled as a whole, so that a resumed run remembers the same: CrewAI's own depends on the clock,
on random ids and on the order of threads. Models and embedders that are asked meanwhile are journaled by themselves.
"""

import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from crewai.memory.types import MemoryMatch, MemoryRecord
from crewai.memory.unified_memory import Memory, _default_embedder
from crewai.utilities import llm_utils
from pydantic_core import to_jsonable_python

from crewrelay.crews.journal.ambient import Journal, in_a_run, journal_for, under_way
from crewrelay.crews.journal.embedding import JournaledEmbedder
from crewrelay.crews.journal.journaled_tools import in_order
from crewrelay.crews.journal.remembered import Remembered
from crewrelay.jobs.errors import InvalidCrew
from crewrelay.jobs.records.journal import Kind, Reply

_encode: Any = Memory._encode_batch
_recall: Any = Memory.recall
_submit: Any = Memory._submit_save
_own_embedder: Any = Memory._embedder.fget  # type: ignore[attr-defined]
_own_llm: Any = Memory._llm.fget  # type: ignore[attr-defined]


def storage_of_run(name: str) -> Remembered | None:
    """Outside of a run CrewAI's own."""
    if not in_a_run():
        return None
    journal = journal_for("memory")
    return Remembered(name, journal.within if journal else None)


def is_of_the_run(memory: Any) -> bool:
    """Whether a memory, or the one behind a scope or slice of it, lasts for the run; True is one that CrewAI makes."""
    behind = getattr(memory, "_memory", None) or memory
    return memory is True or isinstance(getattr(behind, "_storage", None), Remembered)


def embedder(memory: Memory) -> Any:
    if not in_a_run():
        return _own_embedder(memory)
    made = memory._embedder_instance
    return made if isinstance(made, JournaledEmbedder) else JournaledEmbedder(memory.embedder, _default_embedder)


def llm(memory: Memory) -> Any:
    """The model that it names; else that of agents for which none is named."""
    if in_a_run() and "llm" not in memory.model_fields_set:
        return llm_utils._llm_via_environment_or_fallback()
    return _own_llm(memory)


def submit_save(memory: Memory, save: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
    """Saves at once: a recall by another memory of the run would or would not find what a thread is saving."""
    if not in_a_run():
        return _submit(memory, save, *args, **kwargs)  # type: ignore[no-any-return]
    saved: Future[Any] = Future()
    try:
        saved.set_result(save(*args, **kwargs))
    except Exception as error:
        saved.set_exception(error)
    return saved


def recall(memory: Memory, query: str, *args: Any, **kwargs: Any) -> list[MemoryMatch]:
    journal = _journal_of(memory)
    if journal is None:
        return _recall(memory, query, *args, **kwargs)  # type: ignore[no-any-return]
    request = _request(journal, memory, {"recall": query, "how": [args, kwargs]})
    found = _journaled(
        journal, request, lambda: [match.model_dump(mode="json") for match in _recall(memory, query, *args, **kwargs)]
    )
    return [MemoryMatch.model_validate(match) for match in found]


def encode_batch(memory: Memory, contents: list[str], *args: Any, **kwargs: Any) -> list[MemoryRecord]:
    """Saves the contents: CrewAI finds out what that changes, and it is changed here, also by a replay."""
    journal = _journal_of(memory)
    if journal is None:
        return _encode(memory, contents, *args, **kwargs)  # type: ignore[no-any-return]
    storage: Any = memory._storage
    storage.refuse_a_tool()
    request = _request(journal, memory, {"remember": contents, "how": [args, kwargs]})
    embed = JournaledEmbedder(memory.embedder, _default_embedder)

    def changes() -> dict[str, Any]:
        view, noted = memory.model_copy(), _Noted(storage)
        view._storage, view._embedder_instance = noted, embed  # type: ignore[assignment]
        records = _encode(view, contents, *args, **kwargs)
        return noted.changes | {"records": _plain(records), "embedded": embed.asked}

    saved = _journaled(journal, request, changes)
    with under_way(journal, journal.tool, request):
        for texts in saved["embedded"]:
            if not embed.known.keys() >= set(texts):
                embed(texts)  # replayed, as the save was
    _change(storage, saved, embed.known)
    return [MemoryRecord.model_validate(record) for record in saved["records"]]


def _journal_of(memory: Memory) -> Journal | None:
    """Raises InvalidCrew, and ends the run, if the memory has another storage than the run's."""
    journal = journal_for("memory")
    if journal and not is_of_the_run(memory):
        error = InvalidCrew("memory has a storage of its own, which outlasts the run: leave the storage out")
        journal.end(error)
        raise error
    return journal


def _request(journal: Journal, memory: Memory, asked: dict[str, Any]) -> dict[str, Any]:
    storage: Any = memory._storage
    content = {"tool": "memory", "storage": storage.name, "root": memory.root_scope} | asked
    if journal.within:
        content["within"] = journal.within
    request: dict[str, Any] = to_jsonable_python(in_order(content), fallback=str)
    return request


def _journaled(journal: Journal, request: dict[str, Any], work: Callable[[], Any]) -> Any:
    """The journaled result, or else that of the work. What fails ends the run, for CrewAI would go on without it."""

    def pay() -> Reply:
        with under_way(journal, journal.tool, request):
            result = work()
        if journal.ended:  # by a call that was made for it, and CrewAI has gone on without
            raise journal.ended[0]
        return Reply(body=json.dumps(result))

    try:
        return json.loads(journal.calls.call(Kind.TOOL, request, pay).body)
    except BaseException as error:
        journal.end(error)
        raise


class _Noted:
    """A storage that is searched, but not changed: what would be is in `changes`."""

    def __init__(self, storage: Remembered) -> None:
        self._storage = storage
        self.changes: dict[str, list[Any]] = {"deleted": [], "updated": [], "saved": []}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def save(self, records: list[MemoryRecord]) -> None:
        self.changes["saved"] += _plain(records)

    def update(self, record: MemoryRecord) -> None:
        self.changes["updated"] += _plain([record])

    def delete(self, record_ids: list[str]) -> int:
        self.changes["deleted"] += sorted(record_ids)
        return len(record_ids)


def _plain(records: list[MemoryRecord]) -> list[dict[str, Any]]:
    return [record.model_dump(mode="json") for record in records]


def _change(storage: Remembered, changes: dict[str, Any], vectors: dict[str, list[float]]) -> None:
    storage.delete(record_ids=changes["deleted"])
    for record in map(MemoryRecord.model_validate, changes["updated"]):
        known = storage.get_record(record.id)
        record.embedding = vectors.get(record.content) or (known.embedding if known else None)
        storage.update(record)
    saved = [MemoryRecord.model_validate(record) for record in changes["saved"]]
    for record in saved:
        record.embedding = vectors.get(record.content)
    storage.save(saved)
