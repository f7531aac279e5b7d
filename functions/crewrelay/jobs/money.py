"""US dollars as decimals, so that sums carry no rounding error."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer

Usd = Annotated[Decimal, PlainSerializer(float, when_used="json")]  # in JSON a number


def total(costs: Iterable[Decimal | None]) -> Decimal | None:
    """The sum; None if any cost is unknown."""
    known = Decimal()
    for cost in costs:
        if cost is None:
            return None
        known += cost
    return known
