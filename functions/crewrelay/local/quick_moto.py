"""Replaces the slowest parts of moto, which asks, parses and lists the same anew for each request."""

import json
import time
from functools import cache
from typing import Any

import moto.backends
import moto.core.responses
import moto.sqs.models
from moto.cloudformation.models import Stack
from moto.core.serialize import AttributePicker, AttributePickerContext
from moto.core.utils import method_names_from_class
from moto.dynamodb.models.table import Table
from moto.sqs.models import SQSBackend


def make_it_quick() -> None:
    """It sorts all rows for each query, checks every message of a queue, with a slow clock, for each one sent or
    received, looks through its own folder and methods for each request, seeks a value by a dozen names, and reads
    JSON as YAML.
    """
    vars(moto.sqs.models)["unix_time_millis"] = lambda: time.time() * 1000
    vars(moto.core.responses)["method_names_from_class"] = cache(method_names_from_class)
    modules = frozenset(moto.backends.list_of_moto_modules())
    vars(moto.backends)["list_of_moto_modules"] = lambda: modules
    setattr(Table, "all_items", _all_items)  # noqa: B010 -- mypy sees no assignment to a method
    setattr(SQSBackend, "is_message_valid_based_on_retention_period", _not_expired)  # noqa: B010
    setattr(AttributePicker, "__call__", _picked_by(AttributePicker.__call__))  # noqa: B010
    setattr(Stack, "parse_template", staticmethod(_parsed_by(Stack.parse_template)))  # noqa: B010


def _all_items(table: Any) -> list[Any]:
    found = [item for rows in table.items.values() for item in rows.values()]
    return sorted(found, key=lambda item: (item.hash_key.value, item.range_key.value))


def _not_expired(backend: SQSBackend, queue_name: str, message: Any) -> bool:
    queue: Any = backend.get_queue(queue_name)
    return bool(message.sent_timestamp / 1000 + queue.message_retention_period > time.time())


def _picked_by(pick: Any) -> Any:
    def picked(picker: AttributePicker, context: AttributePickerContext) -> Any:
        """What DynamoDB answers has the names that it shall have."""
        service = context.service_model
        if type(context.obj) is dict and service and service.service_name == "dynamodb":
            return context.obj.get(context.key)
        return pick(picker, context)

    return picked


def _parsed_by(parse: Any) -> Any:
    def parsed(template: str) -> Any:
        try:
            return json.loads(template)
        except ValueError:
            return parse(template)

    return parsed
