"""Counts what AWS would bill: requests, and DynamoDB's units by the sizes of the items that were there.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

import json
from collections import Counter
from collections.abc import Callable
from math import ceil
from threading import Lock
from typing import Any

from tests.support.fixtures import Storage

Item = dict[str, dict[str, Any]]
_WRITES = {"PutItem", "UpdateItem", "DeleteItem"}


class Bill:
    """Of everything that a storage's clients ask from now on; its own looks at the table are not counted."""

    def __init__(self, storage: Storage, look: Any) -> None:
        self.requests: Counter[str] = Counter()
        self.read_units = self.write_units = 0.0
        self._look = look
        self._turn = Lock()
        self._table = look.describe_table(TableName=storage.table)["Table"]
        for client in (storage.dynamodb, storage.sqs, storage.s3):
            client.meta.events.register("before-call", self._begun)
            client.meta.events.register("after-call", self._ended)

    def of(self, work: Callable[[], Any]) -> tuple[dict[str, int], float, float]:
        """The requests that `work` makes, by service and operation, and their read and write units."""
        requests, reads, writes = self.requests.copy(), self.read_units, self.write_units
        work()
        return dict(self.requests - requests), self.read_units - reads, self.write_units - writes

    def _begun(self, model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["asked"] = json.loads(params["body"]) if model.service_model.service_name == "dynamodb" else {}
        context["before"] = [self._item(key) for key in self._keys(model.name, context["asked"])]

    def _ended(self, http_response: Any, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        with self._turn:
            self.requests[f"{model.service_model.service_name}:{model.name}"] += 1
        asked, operation = context["asked"], model.name
        keys = self._keys(operation, asked)
        for key, before in zip(keys, context["before"], strict=True):
            if operation in _WRITES:
                written = self._written(before, self._item(key))
                with self._turn:  # clients may be called on many threads
                    self.write_units += written
            else:
                consistent = asked.get("ConsistentRead") or any(
                    table.get("ConsistentRead") for table in asked.get("RequestItems", {}).values()
                )
                with self._turn:
                    self.read_units += max(1, ceil(size(before) / 4096)) * (1 if consistent else 0.5)
        if operation == "Query":
            read = sum(size(item) for item in parsed.get("Items", []))
            with self._turn:
                self.read_units += max(1, ceil(read / 4096)) * (1 if asked.get("ConsistentRead") else 0.5)

    def _keys(self, operation: str, asked: dict[str, Any]) -> list[Item]:
        if operation == "PutItem":
            return [{name: asked["Item"][name] for name in ("pk", "sk")}]
        if "Key" in asked:
            return [asked["Key"]]
        return [key for table in asked.get("RequestItems", {}).values() for key in table["Keys"]]

    def _item(self, key: Item) -> Item:
        found = self._look.get_item(TableName=self._table["TableName"], Key=_sendable(key), ConsistentRead=True)
        item: Item = found.get("Item", {})
        return item

    def _written(self, before: Item, after: Item) -> int:
        """The larger of the two; and for each index what becomes of its entry."""
        units = max(1, ceil(max(size(before), size(after)) / 1024))
        for index in self._table.get("GlobalSecondaryIndexes", []):
            old, new = (self._entry(index, item) for item in (before, after))
            if old == new:
                continue
            keys = [part["AttributeName"] for part in index["KeySchema"]]
            moved = bool(old and new and any(old[key] != new[key] for key in keys))
            units += 2 if moved else max(1, ceil(max(size(old), size(new)) / 1024))
        return units

    def _entry(self, index: dict[str, Any], item: Item) -> Item:
        keys = [part["AttributeName"] for part in index["KeySchema"]]
        if any(key not in item for key in keys):
            return {}
        projected = ["pk", "sk", *keys, *index["Projection"].get("NonKeyAttributes", [])]
        return {name: item[name] for name in projected if name in item}


def size(item: Item) -> int:
    """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html"""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: dict[str, Any]) -> int:
    [(type_, content)] = value.items()
    match type_:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            return ceil(len(content.strip("-").replace(".", "").strip("0")) / 2) + 1
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(inner) for name, inner in content.items())
        case "L":
            return 3 + sum(1 + _size(inner) for inner in content)
        case _:
            return 1  # BOOL, NULL


def _sendable(key: Item) -> Item:
    return {name: key[name] for name in ("pk", "sk")}
