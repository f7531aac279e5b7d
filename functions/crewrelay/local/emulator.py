"""The AWS emulator (moto) in its own process, where it is faster than in a thread. Its memory holds the table.

python -m crewrelay.local.emulator [HOST]

It accepts only the credentials in its environment.
"""

import sys
import threading
import time
from functools import wraps
from typing import Any

import moto.sqs.models
from cheroot.wsgi import Server
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs.models import SQSBackend

from crewrelay.local.child import announce, live_and_die_with_parent
from crewrelay.local.credentials import Credentials
from crewrelay.local.signed import SignedOnly

_THREADS = 64  # a long poll occupies one
_LARGEST_HEAD, _LARGEST_BODY = 64 * 1024, 64 * 1024 * 1024  # bytes


def _make_the_table_atomic() -> None:
    """Handle one DynamoDB request at a time. moto checks a condition and writes in two steps, so with threads two
    competing writes could both succeed. The lock costs nothing, as only one Python thread runs at a time.
    """
    lock, call_action = threading.Lock(), DynamoHandler.call_action

    @wraps(call_action)
    def locked(handler: DynamoHandler) -> Any:
        with lock:
            return call_action(handler)

    setattr(DynamoHandler, "call_action", locked)  # noqa: B010 -- mypy sees no assignment to a method


def _make_it_quick() -> None:
    """Replace moto's slowest parts: it sorts all rows for each query, and checks every message of a queue, with a slow
    clock, for each one sent or received.
    """

    def all_items(table: Any) -> list[Any]:
        found = [item for rows in table.items.values() for item in rows.values()]
        return sorted(found, key=lambda item: (item.hash_key.value, item.range_key.value))

    def not_expired(backend: SQSBackend, queue_name: str, message: Any) -> bool:
        queue: Any = backend.get_queue(queue_name)
        return bool(message.sent_timestamp / 1000 + queue.message_retention_period > time.time())

    vars(moto.sqs.models)["unix_time_millis"] = lambda: time.time() * 1000
    setattr(Table, "all_items", all_items)  # noqa: B010
    setattr(SQSBackend, "is_message_valid_based_on_retention_period", not_expired)  # noqa: B010


def main() -> None:
    live_and_die_with_parent()
    _make_the_table_atomic()
    _make_it_quick()
    host = sys.argv[1] if sys.argv[1:] else "127.0.0.1"
    app = SignedOnly(DomainDispatcherApplication(create_backend_app), Credentials.of_environment(), host)
    # Not moto's own server, which closes each connection after a delay of 10 ms.
    server = Server((host, 0), app, numthreads=_THREADS, request_queue_size=1024)
    server.max_request_header_size, server.max_request_body_size = _LARGEST_HEAD, _LARGEST_BODY
    server.prepare()
    announce(server.bind_addr[1])
    server.serve()


if __name__ == "__main__":
    main()
