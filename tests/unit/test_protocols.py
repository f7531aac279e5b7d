"""Protocols of other platforms: which are served, and what they cost a start."""

import sys
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from crewrelay.http.api import create_api
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.protocols.on_demand import PREFIXES
from crewrelay.http.services import Services
from crewrelay.jobs.errors import Misconfigured
from crewrelay.settings import ApiSettings
from tests.support.http_apps import LOCAL

NOTHING = cast(Any, None)
SERVICES = Services(NOTHING, NOTHING, NOTHING, NOTHING, LongPoll(NOTHING, NOTHING, NOTHING), NOTHING, NOTHING)


def test_all_are_served_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWRELAY_DATA", ".")
    assert ApiSettings.read().mounted == list(PREFIXES)
    monkeypatch.setenv("CREWRELAY_PROTOCOLS", "a2a, mcp")
    assert ApiSettings.read().mounted == ["a2a", "mcp"]
    monkeypatch.setenv("CREWRELAY_PROTOCOLS", "none")
    assert ApiSettings.read().mounted == []


def test_an_unknown_one_is_refused_at_the_start() -> None:
    with pytest.raises(Misconfigured, match="CREWRELAY_PROTOCOLS: 'smtp' is none of amp, openai, mcp, a2a"):
        create_api(SERVICES, LOCAL, ["smtp"])


def test_one_that_is_not_served_has_no_path() -> None:
    answer = TestClient(create_api(SERVICES, LOCAL)).get("/v1/models")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:crewrelay:problem:no_such_path")


def test_none_is_imported_at_the_start() -> None:
    before = set(sys.modules)
    create_api(SERVICES, LOCAL, PREFIXES)
    assert not {name for name in set(sys.modules) - before if name.startswith("crewrelay.http.protocols.")}
