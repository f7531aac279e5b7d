"""What a job has spent, what its calls in flight may yet, and how long its calls take."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from crewrelay.jobs.errors import BudgetExceeded
from crewrelay.jobs.journal import Call, Kind, Receipt
from crewrelay.jobs.policy import Budget


class Spending:
    """Not safe for threads by itself: its run takes turns."""

    def __init__(self, budget: Budget, receipt: Receipt, journal: Iterable[Call]) -> None:
        self.receipt = receipt.recounted(journal)
        self.in_flight: list[Kind] = []
        self._budget = budget
        self._largest = 0  # tokens of one call
        self._longest: defaultdict[Kind, timedelta] = defaultdict(timedelta)
        for call in journal:
            self._learn(call)

    def add(self, call: Call) -> None:
        self.receipt = self.receipt.with_paid(call)
        self._learn(call)

    def excess(self, kind: Kind) -> BudgetExceeded | None:
        """Why one more call can't be paid."""
        spent, budget = self.receipt, self._budget
        if kind is not Kind.MODEL:
            return None
        if spent.calls_paid + self._models >= budget.calls:
            return BudgetExceeded(f"The job has made {spent.calls_paid} model calls; {budget.calls} are allowed.")
        if spent.tokens >= budget.tokens:
            return BudgetExceeded(f"The job has used {spent.tokens:,} tokens; {budget.tokens:,} are allowed.")
        return None

    def is_open(self, kind: Kind) -> bool:
        """Whether it takes the end of calls in flight to tell if there are tokens left for one more; nothing is known
        of a call's size until the first one ends.
        """
        if kind is not Kind.MODEL or not self._models:
            return False
        unknown = self.receipt.calls_paid == 0
        return unknown or self.receipt.tokens + self._models * self._largest >= self._budget.tokens

    def expected(self, kind: Kind) -> timedelta:
        """How long one more call may take: as long as the longest so far."""
        return self._longest[kind]

    @property
    def _models(self) -> int:
        return self.in_flight.count(Kind.MODEL)

    def _learn(self, call: Call) -> None:
        self._largest = max(self._largest, call.reply.prompt_tokens + call.reply.completion_tokens)
        self._longest[call.kind] = max(self._longest[call.kind], timedelta(seconds=call.seconds))
