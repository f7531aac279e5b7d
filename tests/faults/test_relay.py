"""A run that does not fit its request goes on in the worker, on the real stack, and pays for nothing twice."""

import time
from collections import Counter

import httpx
import pytest

from tests.faults.engines import LONG_FORM
from tests.support.fixtures import Figure
from tests.support.processes import listening
from tests.support.stack import model_variables, running_stack
from tests.support.waiting import wait_until

# In the short form, AWS's is what `make runtime` shows.
ENGINES: dict[str, tuple[str, ...]] = {"sqlite": ()} | ({"aws": ("--aws",)} if LONG_FORM else {})
BODY = {"topic": "neural networks", "language": "en"}


def calls_by_request(model: int) -> Counter[str]:
    """How often each request reached the model."""
    return Counter(call["digest"] for call in httpx.get(f"http://127.0.0.1:{model}/log").json())


@pytest.mark.parametrize("arguments", ENGINES.values(), ids=ENGINES)
def test_a_cut_run_pays_what_an_uncut_one_does(figure: Figure, arguments: tuple[str, ...]) -> None:
    with (
        listening("tests.support.doubles.model_server", "--delay", "1.5", "--searches", "2") as model,
        running_stack(1, *arguments, **model_variables(model)) as stack,
    ):
        uncut = stack.client.post("/crewai/run", json=BODY)
        assert uncut.status_code == 200
        needed = calls_by_request(model)

        begun = time.monotonic()
        cut = stack.client.post("/crewai/run", json=BODY, headers={"Prefer": "wait=3"})
        took = time.monotonic() - begun
        assert cut.status_code == 202
        assert cut.headers["Preference-Applied"] == "wait=3"
        where = cut.headers["Location"]
        job = wait_until(lambda: (got := stack.client.get(where).json())["status"] == "completed" and got, within=30)
        paid = calls_by_request(model).total() - needed.total()
    receipt = job["receipt"]
    # What the worker found paid when it went on; the log can't tell whose a call was that came at once after the 202.
    paid_inline = receipt["calls_replayed"]
    figure(f"202 after {took:.2f} s; {paid_inline} of {paid} calls paid inline, uncut needs {needed.total()}")
    assert took <= 5
    assert 1 <= paid_inline < paid
    assert set((needed + needed).values()) == {2}
    assert paid == needed.total()
    assert receipt["calls_paid"] == paid
    assert (receipt["relays"], receipt["attempts"]) == (1, 1)
    assert job["result"] == uncut.json()["answer"]
    assert job["sources"] == uncut.json()["sources"]
    assert job["usage"] == uncut.json()["usage"]
