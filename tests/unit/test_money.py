"""Dollars are added to the digit, and shown as numbers."""

from decimal import Decimal

import pytest
from pydantic import BaseModel

from crewrelay.jobs.money import Usd, total


class Bill(BaseModel):
    cost: Usd


@pytest.mark.parametrize(
    ("costs", "sum_"),
    [
        ([], Decimal()),
        ([Decimal("0.1"), Decimal("0.2")], Decimal("0.3")),
        ([Decimal("0.1"), None], None),
        ([None, Decimal("0.1")], None),
    ],
)
def test_costs_are_added_unless_one_is_unknown(costs: list[Decimal | None], sum_: Decimal | None) -> None:
    assert total(costs) == sum_


def test_a_cost_is_a_number_in_json_and_keeps_its_digits_elsewhere() -> None:
    bill = Bill(cost=Decimal("0.10"))
    assert bill.model_dump_json() == '{"cost":0.1}'
    assert str(bill.model_dump()["cost"]) == "0.10"


def test_the_published_schema_says_that_a_cost_is_a_number() -> None:
    assert Bill.model_json_schema(mode="serialization")["properties"]["cost"]["type"] == "number"
