"""Pages of another origin: one may be let in."""

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from crewrelay.http.edge import with_cors

OURS = "https://app.example.org"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,idempotency-key,x-correlation-id,traceparent",
}


def client(origin: str) -> TestClient:
    app = FastAPI()
    app.get("/")(lambda: {"well": True})
    return TestClient(with_cors(origin, app))


@pytest.mark.parametrize("setting", [OURS, "*"])
def test_a_page_of_the_origin_may_read_answers_and_where_to_look(setting: str) -> None:
    answer = client(setting).get("/", headers={"Origin": OURS})
    assert answer.headers["access-control-allow-origin"] == setting
    assert set(answer.headers["access-control-expose-headers"].split(", ")) >= {
        "Location",
        "Retry-After",
        "X-Correlation-Id",
    }
    assert "access-control-allow-credentials" not in answer.headers  # tokens come in a header of their own


def test_its_preflight_is_answered() -> None:
    answer = client(OURS).options("/", headers={"Origin": OURS} | PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == OURS


@pytest.mark.parametrize("setting", ["", OURS])
def test_another_origin_is_not_let_in(setting: str) -> None:
    other = {"Origin": "https://elsewhere.example.org"}
    assert client(setting).get("/", headers=other).headers.get("access-control-allow-origin") in (None, OURS)
    assert client(setting).options("/", headers=other | PREFLIGHT).status_code in (400, 405)
