"""When an error says to come again."""

from datetime import timedelta
from email.utils import format_datetime

import httpx
import openai
import pytest

from crewrelay.crews.models.failures import explain
from crewrelay.system import utcnow
from tests.support.errors import REQUEST, of_botocore, raised_from


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        ("1.5", 1.5),
        (" 7 ", 7),
        ("0", 0),
        ("-3", 0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_an_answer_says_when_to_come_back(status: int, header: str, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    response = httpx.Response(status, request=REQUEST, headers={"Retry-After": header})
    with openai.OpenAI(api_key="none", base_url="https://models.example/v1") as client:
        refused = client._make_status_error("refused", body=None, response=response)
    assert explain(raised_from(RuntimeError("The task failed."), refused)).retry_after == expected
    throttled = of_botocore(status)
    throttled.response["ResponseMetadata"]["HTTPHeaders"] = {"retry-after": header}
    assert explain(throttled).retry_after == expected


@pytest.mark.parametrize(("late", "bounds"), [(120, (118, 120)), (-120, (0, 0))])
def test_it_may_say_so_as_a_date(late: int, bounds: tuple[int, int]) -> None:
    moment = format_datetime(utcnow() + timedelta(seconds=late), usegmt=True)
    response = httpx.Response(429, request=REQUEST, headers={"Retry-After": moment})
    with pytest.raises(httpx.HTTPStatusError) as raised:
        response.raise_for_status()
    asked_for = explain(raised.value).retry_after
    assert asked_for is not None
    assert bounds[0] <= asked_for.total_seconds() <= bounds[1]
