"""The AWS emulator in a process of its own, where moto is faster than in a thread of ours. Its memory is the table."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sqs.models import SQSBackend
from werkzeug.serving import make_server

from crewrelay.local.child import announce, live_and_die_with_parent


class _KeepAlive(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it writes head and body apart: 40 ms an answer

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...


def _make_writes_atomic() -> None:
    """moto checks a write's condition and writes in two steps: among threads, both of two rivals may win."""
    lock = threading.RLock()

    def one_at_a_time(write: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(write)
        def locked(*args: Any, **kwargs: Any) -> Any:
            with lock:
                return write(*args, **kwargs)

        return locked

    for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
        setattr(DynamoDBBackend, name, one_at_a_time(getattr(DynamoDBBackend, name)))


def _make_reads_quick() -> None:
    """moto sorts all rows for each query, and counts a queue's messages for each one received: half of all its CPU."""

    def all_items(table: Any) -> list[Any]:
        found = [item for rows in list(table.items.values()) for item in list(rows.values())]
        return sorted(found, key=lambda item: (item.hash_key.value, item.range_key.value))

    def not_expired(backend: SQSBackend, queue_name: str, message: Any) -> bool:
        queue: Any = backend.get_queue(queue_name)
        return bool(message.sent_timestamp / 1000 + queue.message_retention_period > time.time())

    setattr(Table, "all_items", all_items)  # noqa: B010 -- mypy sees no assignment to a method
    setattr(SQSBackend, "is_message_valid_based_on_retention_period", not_expired)  # noqa: B010


def main() -> None:
    live_and_die_with_parent()
    _make_writes_atomic()
    _make_reads_quick()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_KeepAlive)
    announce(server.port)
    server.serve_forever()


if __name__ == "__main__":
    main()
