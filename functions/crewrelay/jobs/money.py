"""US dollars, to the digit: what a hundred calls cost has no more decimals than what one did."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer

Usd = Annotated[Decimal, PlainSerializer(float, when_used="json")]  # in JSON a number


def total(costs: Iterable[Decimal | None]) -> Decimal | None:
    """Unknown as soon as one of them is."""
    known = Decimal()
    for cost in costs:
        if cost is None:
            return None
        known += cost
    return known
