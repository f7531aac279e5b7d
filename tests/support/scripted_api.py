"""An HTTP server whose answers are a script."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ScriptedApi:
    """Answers each request with the next of its script: a status and a body, or None, which is to hang up."""

    def __init__(self) -> None:
        self.script: list[tuple[int, Any] | None] = []
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, idempotency key
        self.tokens: list[str | None] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                api.asked.append((self.command, self.path, self.headers.get("Idempotency-Key")))
                api.tokens.append(self.headers.get("Authorization"))
                answer = api.script.pop(0)
                if answer is not None:
                    body = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
                    self.send_response(answer[0])
                    for name, value in {"Content-Length": str(len(body)), **api.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/prod"


@contextmanager
def scripted_api() -> Iterator[ScriptedApi]:
    api = ScriptedApi()
    thread = threading.Thread(target=api.server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield api
    finally:
        api.server.shutdown()
        thread.join()
        api.server.server_close()
