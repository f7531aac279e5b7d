"""docs/http-reference.md, written from the OpenAPI document: `.venv/bin/python -m tests.support.http_reference`."""

import re
from collections.abc import Iterator
from typing import Any, cast

from crewrelay.http.api import create_api
from crewrelay.http.long_poll import LongPoll
from crewrelay.http.services import Services
from tests.support.processes import ROOT

PAGE = ROOT / "docs/http-reference.md"
OF_ALL = {"401", "403", "429", "503"}
HEAD = """\
# HTTP reference

Every route, as `/openapi.json` has it; `/docs` shows its schemas and sends requests. [http.md](http.md) explains them
with examples. A token needs the [scope](tokens.md); `/health` and `/` take none.

Besides the answers that are listed, any route may answer 401 (no valid token), 403 (the token lacks the scope), 429,
and 503 (try again after `Retry-After` seconds). Each error is [problem+json](http.md#errors).
"""
NOTHING = cast(Any, None)  # describing the app asks nothing of its ports


def reference() -> str:
    """The text of the page."""
    services = Services(*[NOTHING] * len(Services._fields))._replace(long_poll=LongPoll(NOTHING, NOTHING, NOTHING))
    document = create_api(services, None).openapi()
    return HEAD + "".join(_section(tag, document) for tag in document["tags"]) + _errors(document)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in sorted(document["paths"].items()):
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def _section(tag: dict[str, str], document: dict[str, Any]) -> str:
    rows = [_row(route, one) for route, one in _operations(document) if tag["name"] in one["tags"]]
    head = f"\n## {tag['name'].capitalize()}\n\n{tag['description']}\n"
    return f"{head}\n| route | scope | does | takes | answers |\n|---|---|---|---|---|\n{''.join(rows)}"


def _row(route: str, operation: dict[str, Any]) -> str:
    does, _, scope = operation["description"].partition("\n\nThe token needs the scope ")
    parameters = operation.get("parameters", [])
    takes = [f"`{parameter['name']}`" for parameter in parameters if parameter["in"] != "path"]
    answers = sorted(operation["responses"].keys() - OF_ALL)
    cells = (f"`{route}`", scope.rstrip(".") or "–", " ".join(does.split()), ", ".join(takes), ", ".join(answers))
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


def _errors(document: dict[str, Any]) -> str:
    told = {
        status: answer["description"]
        for _, operation in _operations(document)
        for status, answer in operation["responses"].items()
        if re.match("[45]", status)
    }
    rows = [f"| {status} | {told[status]} |\n" for status in sorted(told)]
    return f"\n## What a status from 400 says\n\n| status | meaning |\n|---|---|\n{''.join(rows)}"


if __name__ == "__main__":
    PAGE.write_text(reference())
