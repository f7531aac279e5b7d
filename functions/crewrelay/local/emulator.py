"""The AWS emulator in a process of its own: moto is faster there than in a thread of ours, and its conditional
writes have one winner. Its memory is the table.
"""

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from crewrelay.local.child import announce, live_and_die_with_parent


class _KeepAlive(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it writes head and body apart: 40 ms an answer

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...


def main() -> None:
    live_and_die_with_parent()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_KeepAlive)
    announce(server.port)
    server.serve_forever()


if __name__ == "__main__":
    main()
