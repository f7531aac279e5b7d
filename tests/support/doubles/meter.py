"""The domain's Meter port in memory: what was recorded, summed up, and each record."""

import threading
from collections import Counter
from collections.abc import Mapping

from crewrelay.jobs.ports import Measure


class MemoryMeter:
    def __init__(self) -> None:
        self.records: list[dict[Measure, float]] = []
        self._turn = threading.Lock()

    def record(self, measures: Mapping[Measure, float]) -> None:
        with self._turn:
            self.records.append(dict(measures))

    @property
    def total(self) -> dict[Measure, float]:
        counted: Counter[Measure] = Counter()
        for record in self.records:
            counted.update(record)
        return dict(counted)
