"""The AWS emulator (moto) in its own process, where it is faster than in a thread. Its memory holds the table.

python -m crewrelay.local.emulator [HOST]

It accepts only the credentials in its environment.
"""

import sys
import threading
from functools import wraps
from typing import Any

from cheroot.wsgi import Server
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from crewrelay.local.child import announce, live_and_die_with_parent
from crewrelay.local.credentials import Credentials
from crewrelay.local.quick_moto import make_it_quick
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


def main() -> None:
    live_and_die_with_parent()
    _make_the_table_atomic()
    make_it_quick()
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
