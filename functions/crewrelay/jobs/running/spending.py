"""What a job has spent, what its calls in flight may add, and how long its calls take."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from crewrelay.jobs.errors import BudgetExceeded
from crewrelay.jobs.records.journal import Call, Kind, Receipt
from crewrelay.jobs.records.policy import Budget


class Spending:
    """Not thread-safe: the run holds a lock."""

    def __init__(self, budget: Budget, receipt: Receipt, journal: Iterable[Call]) -> None:
        self.receipt = receipt.recounted(journal)
        self.in_flight: list[Kind] = []
        self._budget = budget
        self._largest = 0  # most tokens of one call
        self._longest: defaultdict[Kind, timedelta] = defaultdict(timedelta)
        for call in journal:
            self._learn(call)

    def add(self, call: Call) -> None:
        self.receipt = self.receipt.with_paid(call)
        self._learn(call)

    def excess(self, kind: Kind) -> BudgetExceeded | None:
        """The error if the budget allows no further call, else None."""
        spent, budget = self.receipt, self._budget
        if kind is not Kind.MODEL:
            return None
        if spent.calls_paid + self._models >= budget.calls:
            return BudgetExceeded(f"The job has made {spent.calls_paid} model calls; {budget.calls} are allowed.")
        if spent.tokens >= budget.tokens:
            return BudgetExceeded(f"The job has used {spent.tokens:,} tokens; {budget.tokens:,} are allowed.")
        return None

    def is_open(self, kind: Kind) -> bool:
        """Whether calls in flight must end before it is known if tokens are left for one more. A call's size is unknown
        until the first one has ended.
        """
        if kind is not Kind.MODEL or not self._models:
            return False
        unknown = self.receipt.calls_paid == 0
        return unknown or self.receipt.tokens + self._models * self._largest >= self._budget.tokens

    def expected(self, kind: Kind) -> timedelta:
        """Expected duration of a call: the longest so far."""
        return self._longest[kind]

    @property
    def _models(self) -> int:
        return self.in_flight.count(Kind.MODEL)

    def _learn(self, call: Call) -> None:
        self._largest = max(self._largest, call.reply.prompt_tokens + call.reply.completion_tokens)
        self._longest[call.kind] = max(self._longest[call.kind], timedelta(seconds=call.seconds))
