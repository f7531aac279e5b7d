"""Half of the submissions that schemathesis makes are given what no schema can say, so that jobs come of them: a
registered language, a known crew, its inputs. Those that break the schema still do.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import schemathesis

from crewrelay.jobs.records.events import EventType

_WEBHOOK: dict[str, Callable[[Any], bool]] = {  # what keeps to the schema, for an address that cannot be reached
    "webhook_url": lambda url: isinstance(url, str) and len(url) <= 2048,
    "webhook_form": lambda form: form in ("standard", "cloudevents"),
    "webhook_events": lambda events: (
        isinstance(events, list) and 0 < len(events) <= 13 and all(each in [*EventType] for each in events)
    ),
}
_COLLECTION = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@schemathesis.serializer("application/jsonl")
def lines(context: Any, value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    items = body.get("items") if isinstance(body, dict) else None
    if isinstance(items, list) and len(items) > 1:  # good ones would be accepted beside bad ones
        return body
    for each in items if isinstance(items, list) else [body]:
        if isinstance(each, dict) and len(str(each)) % 2:
            _make_acceptable(each)
    return body


def _make_acceptable(request: dict[str, Any]) -> None:
    topic, language, collection = (request.get(name) for name in ("topic", "language", "collection"))
    if isinstance(topic, str) and 0 < len(topic) <= 2000:
        request["topic"] = "rain"
    if isinstance(language, str) and 0 < len(language) <= 35:
        request["language"] = "en"
    if isinstance(request.get("crew"), str):
        request["crew"] = "research"
    if isinstance(request.get("inputs"), dict):
        request["inputs"] = {"topic": "rain", "language": "en"}
    if isinstance(collection, str) and _COLLECTION.fullmatch(collection):
        del request["collection"]
    hook = {name: request[name] for name in _WEBHOOK if name in request}
    if all(_WEBHOOK[name](value) for name, value in hook.items()):
        for name in hook:
            del request[name]
