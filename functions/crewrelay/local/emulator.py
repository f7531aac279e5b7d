"""The AWS emulator in a process of its own, where moto is faster than in a thread of ours. Its memory is the table.

python -m crewrelay.local.emulator [HOST]
"""

import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import moto.sqs.models
from cheroot.wsgi import Server
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs.models import SQSBackend

from crewrelay.local.child import announce, live_and_die_with_parent

_THREADS = 64  # a long poll of a queue holds one


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


def _make_it_quick() -> None:
    """moto sorts all rows for each query, and for each message sent or received it looks at every one in the queue, by
    a clock that takes microseconds: most of its CPU.
    """

    def all_items(table: Any) -> list[Any]:
        found = [item for rows in list(table.items.values()) for item in list(rows.values())]
        return sorted(found, key=lambda item: (item.hash_key.value, item.range_key.value))

    def not_expired(backend: SQSBackend, queue_name: str, message: Any) -> bool:
        queue: Any = backend.get_queue(queue_name)
        return bool(message.sent_timestamp / 1000 + queue.message_retention_period > time.time())

    vars(moto.sqs.models)["unix_time_millis"] = lambda: time.time() * 1000
    setattr(Table, "all_items", all_items)  # noqa: B010 -- mypy sees no assignment to a method
    setattr(SQSBackend, "is_message_valid_based_on_retention_period", not_expired)  # noqa: B010


def main() -> None:
    live_and_die_with_parent()
    _make_writes_atomic()
    _make_it_quick()
    app = DomainDispatcherApplication(create_backend_app)
    # Not moto's own server: it closes each connection, and waits 10 ms on it before it does.
    host = sys.argv[1] if sys.argv[1:] else "127.0.0.1"
    server = Server((host, 0), app, numthreads=_THREADS, request_queue_size=1024)
    server.prepare()
    announce(server.bind_addr[1])
    server.serve()


if __name__ == "__main__":
    main()
