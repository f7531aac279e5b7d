"""What a run remembers, in the run's own memory: see memory.py. It is searched exactly, with CrewAI's scores."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from crewai.memory.types import MemoryRecord, ScopeInfo

from crewrelay.crews.journal.ambient import NotInTheRun, journal_for
from crewrelay.jobs.errors import InvalidCrew

_IN_A_TOOL = "a tool or step of its own changes the memory, which a replay of the tool would not: let the agent do it"


class Remembered:
    """A storage of CrewAI's memory that has no records by itself: those of this name are the current run's.

    `within` is the request of the tool, if there is one, that the memory was made in. What is remembered in there is
    unknown outside, for a run that replays the tool does not remember it again.
    """

    def __init__(self, name: str, within: dict[str, Any] | None) -> None:
        self.name = name
        self._within = within
        self._key = json.dumps([name, within])

    @property
    def _records(self) -> dict[str, MemoryRecord]:
        journal = journal_for("memory")
        if journal is None:
            raise NotInTheRun("memory")
        records: dict[str, MemoryRecord] = journal.memories.setdefault(self._key, {})
        return records

    def refuse_a_tool(self) -> None:
        """Raises InvalidCrew, and ends the run, if its memory would be changed by what is replayed as a whole."""
        journal = journal_for("memory")
        if journal and journal.within != self._within:
            error = InvalidCrew(_IN_A_TOOL)
            journal.end(error)
            raise error

    def save(self, records: list[MemoryRecord]) -> None:
        self.refuse_a_tool()
        self._records.update({record.id: record for record in records})

    def update(self, record: MemoryRecord) -> None:
        self.refuse_a_tool()
        if record.id in self._records:
            self._records[record.id] = record

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        self.refuse_a_tool()
        chosen = [
            record.id
            for record in self._found(scope_prefix, categories, metadata_filter)
            if (record_ids is None or record.id in record_ids)
            and (older_than is None or record.created_at < older_than)
        ]
        return sum(self._records.pop(one, None) is not None for one in chosen)

    def reset(self, scope_prefix: str | None = None) -> None:
        self.delete(scope_prefix)

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """A record that has no vector of this length is not found."""
        size = len(query_embedding)
        found = [
            record
            for record in self._found(scope_prefix, categories, metadata_filter)
            if record.embedding and len(record.embedding) == size
        ]
        if not found:
            return []
        away = np.array([record.embedding for record in found]) - np.array(query_embedding)
        scores = 1 / (1 + np.square(away).sum(axis=1))
        best = np.argsort(-scores, kind="stable")[:limit]
        return [(found[at], float(scores[at])) for at in best if scores[at] >= min_score]

    def get_record(self, record_id: str) -> MemoryRecord | None:
        return self._records.get(record_id)

    def list_records(self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0) -> list[MemoryRecord]:
        """Newest first."""
        return list(self._found(scope_prefix))[::-1][max(0, offset) :][: max(0, limit)]

    def get_scope_info(self, scope: str) -> ScopeInfo:
        found = list(self._found(scope))
        made = [record.created_at for record in found]
        return ScopeInfo(
            path=_path(scope) or "/",
            record_count=len(found),
            categories=sorted({category for record in found for category in record.categories}),
            oldest_record=min(made, default=None),
            newest_record=max(made, default=None),
            child_scopes=self.list_scopes(scope),
        )

    def list_scopes(self, parent: str = "/") -> list[str]:
        """The scopes directly below this one."""
        above = f"{_path(parent)}/"
        below = [record.scope.removeprefix(above) for record in self._found(parent) if record.scope.startswith(above)]
        return sorted({above + rest.partition("/")[0] for rest in below if rest})

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        return dict(Counter(category for record in self._found(scope_prefix) for category in record.categories))

    def count(self, scope_prefix: str | None = None) -> int:
        return len(list(self._found(scope_prefix)))

    def _found(
        self,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Iterator[MemoryRecord]:
        """Oldest first, whichever thread saves first in a replay. As with CrewAI, a scope is a prefix of letters."""
        prefix = _path(scope)
        for record in sorted(self._records.values(), key=lambda one: one.created_at):
            of_category = not categories or not set(categories).isdisjoint(record.categories)
            if record.scope.startswith(prefix) and of_category and _has(record.metadata, metadata):
                yield record

    async def asave(self, records: list[MemoryRecord]) -> None:
        self.save(records)

    async def asearch(self, *args: Any, **kwargs: Any) -> list[tuple[MemoryRecord, float]]:
        return self.search(*args, **kwargs)

    async def adelete(self, *args: Any, **kwargs: Any) -> int:
        return self.delete(*args, **kwargs)


def _path(scope: str | None) -> str:
    """Without a slash at its end, and so "" for the root."""
    path = (scope or "").strip("/")
    return f"/{path}" if path else ""


def _has(metadata: dict[str, Any], wanted: dict[str, Any] | None) -> bool:
    return all(metadata.get(name) == value for name, value in (wanted or {}).items())
