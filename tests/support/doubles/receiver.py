"""A receiver of webhooks on this machine. What it does with each connection is scripted; after that it answers 204."""

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

Behaviour = Callable[[socket.socket, threading.Event], None]  # the event says that the test is over
OK = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class Receiver:
    def __init__(self, *script: Behaviour, context: ssl.SSLContext | None = None, listening: bool = True) -> None:
        self.script = deque(script)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.connections = 0
        self._context = context
        self._over = threading.Event()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        if listening:
            self.listen()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}/hook?to=it"

    def listen(self) -> None:
        self._listener.listen()
        self._start(self._accept)

    def close(self) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                behaviour = self.script.popleft() if self.script else self._answer
                self._start(self._serve, connection, behaviour)

    def _serve(self, connection: socket.socket, behaviour: Behaviour) -> None:
        with suppress(OSError, ValueError), connection:
            connection.settimeout(10)
            if self._context and behaviour not in RAW:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                behaviour(connection, self._over)

    def _answer(self, connection: socket.socket, over: threading.Event) -> None:
        self.requests.append(read(connection))
        connection.sendall(OK)


def read(connection: socket.socket) -> tuple[dict[str, str], bytes]:
    """A whole request: its headers in lower case, and its body."""
    with connection.makefile("rb") as file:
        if not file.readline().startswith(b"POST /hook?to=it HTTP/1.1"):
            raise ValueError("no request of ours")
        headers = {}
        while (line := file.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return headers, file.read(int(headers["content-length"]))


def answering(text: str | bytes) -> Behaviour:
    """Reads the request, sends this, and closes."""
    raw = text.encode() if isinstance(text, str) else text

    def answer(connection: socket.socket, over: threading.Event) -> None:
        read(connection)
        connection.sendall(raw)

    return answer


def status(code: int, *headers: str) -> Behaviour:
    return answering("\r\n".join([f"HTTP/1.1 {code} Said", *headers, "Content-Length: 0", "", ""]))


def trickling(start: bytes, piece: bytes, pause: float = 0.05) -> Behaviour:
    """Sends a start at once, then a piece after each pause, for ever."""

    def trickle(connection: socket.socket, over: threading.Event) -> None:
        read(connection)
        connection.sendall(start)
        while not over.wait(pause):
            connection.sendall(piece)

    return trickle


def closes_at_once(connection: socket.socket, over: threading.Event) -> None:
    pass


def resets(connection: socket.socket, over: threading.Event) -> None:
    read(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes_its_half(connection: socket.socket, over: threading.Event) -> None:
    read(connection)
    connection.shutdown(socket.SHUT_WR)
    over.wait(10)


def says_nothing(connection: socket.socket, over: threading.Event) -> None:
    over.wait(10)


def answers_unread(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(OK)
    over.wait(0.2)  # then a reset, for there is unread data


def speaks_no_tls(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def trickles_a_handshake(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"\x16\x03\x03\x40\x00")
    while not over.wait(0.05):
        connection.sendall(b"\x02")


RAW = (closes_at_once, says_nothing, speaks_no_tls, trickles_a_handshake)  # before TLS
