"""What a run remembers is found as in CrewAI's own store."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from crewai.memory.storage.lancedb_storage import LanceDBStorage
from crewai.memory.types import MemoryRecord

from crewrelay.crews.journal.ambient import NotInTheRun, journaling
from crewrelay.crews.journal.remembered import Remembered
from crewrelay.testing import Unjournaled

BEGUN = datetime(2026, 3, 5)


def record(at: int, scope: str, *categories: str, **metadata: str) -> MemoryRecord:
    return MemoryRecord(
        id=f"id{at}",
        content=f"Fact {at}.",
        scope=scope,
        categories=list(categories),
        metadata=metadata,
        created_at=BEGUN + timedelta(minutes=at),
        last_accessed=BEGUN,
        embedding=[float(at), 1.0, 0.5],
    )


RECORDS = [
    record(0, "/"),
    record(1, "/crew", "towns"),
    record(2, "/crew/report", "towns", "rain", by="Ann"),
    record(3, "/crew/report/agent/host", "rain"),
    record(4, "/crew/reports"),
    record(5, "/flow/a_b"),
    record(6, "/flow/acb"),
]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Any]]:
    """CrewAI's and ours."""
    with journaling(Unjournaled()):
        both: list[Any] = [LanceDBStorage(path=str(tmp_path)), Remembered("lancedb", None)]
        for store in both:
            store.save([one.model_copy() for one in RECORDS])
        yield both


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("list_records", {}),
        ("list_records", {"scope_prefix": "/crew", "limit": 2, "offset": 1}),
        ("list_records", {"scope_prefix": "/flow/a_b"}),
        ("list_scopes", {}),
        ("list_scopes", {"parent": "/crew/"}),
        ("list_scopes", {"parent": "/gone"}),
        ("get_scope_info", {"scope": "/crew/report"}),
        ("get_scope_info", {"scope": "/"}),
        ("get_scope_info", {"scope": "/gone"}),
        ("list_categories", {}),
        ("list_categories", {"scope_prefix": "/crew/report/agent"}),
        ("count", {}),
        ("count", {"scope_prefix": "/crew"}),
        ("get_record", {"record_id": "id3"}),
        ("get_record", {"record_id": "gone"}),
    ],
)
def test_what_it_tells(stores: list[Any], name: str, given: dict[str, Any]) -> None:
    told = [getattr(store, name)(**given) for store in stores]
    assert plain(told[1]) == plain(told[0])


def plain(told: Any) -> Any:
    if isinstance(told, list):
        return [plain(one) for one in told]
    return told.model_dump() if hasattr(told, "model_dump") else told


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"limit": 2},
        {"scope_prefix": "/crew/report"},
        {"categories": ["rain"]},
        {"metadata_filter": {"by": "Ann"}},
        {"min_score": 0.5},
        {"scope_prefix": "/gone"},
    ],
)
def test_a_search_has_the_same_scores(stores: list[Any], given: dict[str, Any]) -> None:
    theirs, ours = ([(one.id, round(score, 5)) for one, score in s.search([2.2, 1, 0.5], **given)] for s in stores)
    assert ours == theirs


def test_what_is_changed(stores: list[Any]) -> None:
    for store in stores:
        store.update(RECORDS[3].model_copy(update={"content": "Another."}))
        assert store.get_record("id3").content == "Another."
        assert store.delete(record_ids=["id1", "gone"]) == 1
        assert store.delete(categories=["towns"]) == 1
        store.reset("/flow/acb")
        assert {one.id for one in store.list_records()} == {"id0", "id3", "id4", "id5"}
        store.reset()
        assert store.count() == 0


def test_outside_of_a_run_there_is_nothing_to_remember() -> None:
    with pytest.raises(NotInTheRun):
        Remembered("lancedb", None).count()
