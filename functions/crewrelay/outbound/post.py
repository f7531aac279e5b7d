"""One POST request to an address that a caller named.

The connection goes to the address that the guard has checked. There are no redirects, no proxies of the environment and
no decompression; a timer ends the connection, whatever the receiver does.
"""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache

from crewrelay import __version__
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.ports import Clock
from crewrelay.jobs.records.subscription import Outcome
from crewrelay.jobs.running.execution import on_own_thread
from crewrelay.outbound.guard import Guard, Resolve, Target, resolve

_TIMEOUT = 13.0  # seconds in all, besides the name's resolution
_RESOLUTION = 2.0  # seconds, in which the system's resolver answers or not
_CONNECT = 4.0  # seconds for each address
_BODY_TIMEOUT = 1.0  # seconds: the status is known by then
_MOST_ADDRESSES = 3
_MOST_BODY = 2048  # bytes
_OURS = ("host", "user-agent", "content-length", "transfer-encoding", "connection")
_NO_ANSWER = (OSError, http.client.HTTPException, ValueError)  # ValueError: of http.client, for a header out of order


class HttpPost:
    def __init__(
        self,
        guard: Guard,
        clock: Clock,
        resolve: Resolve = resolve,
        timeout: float = _TIMEOUT,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._resolve = resolve
        self._timeout = timeout
        self._context = context

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        watch = _Watch(self._timeout)
        try:
            target = self._guard.target(url)
            addresses = on_own_thread(lambda: self._guard.addresses(target, self._resolve), "resolve")
            with watch:
                return self._sent(target, addresses.result(min(_RESOLUTION, self._timeout)), headers, body, watch)
        except InvalidRequest as refusal:
            return Outcome(error=f"refused: the URL {refusal}")
        except TimeoutError:
            return Outcome(error="timeout")
        except ssl.SSLCertVerificationError as error:
            return Outcome(error=f"certificate: {error.verify_message}")
        except _NO_ANSWER as error:
            return Outcome(error="timeout" if watch.expired else _said(error))

    def _sent(
        self, target: Target, addresses: list[str], headers: Mapping[str, str], body: bytes, watch: "_Watch"
    ) -> Outcome:
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.sock = connected = self._connected(target, addresses, watch)
        try:
            connection.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
            own = {"Host": target.authority, "User-Agent": f"crewrelay/{__version__}", "Content-Length": str(len(body))}
            others = {name: value for name, value in headers.items() if name.lower() not in _OURS}
            for name, value in {**others, **own, "Connection": "close"}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            with answer:
                if watch.expired:  # its end looks like that of the headers
                    raise TimeoutError
                retry_after = _retry_after(answer.getheader("Retry-After", ""), self._clock())
                return Outcome(answer.status, retry_after=retry_after, body=_beginning(answer, connected))
        finally:
            connection.close()

    def _connected(self, target: Target, addresses: list[str], watch: "_Watch") -> socket.socket:
        for last, address in _with_last(addresses[:_MOST_ADDRESSES]):
            try:
                plain = socket.create_connection((address, target.port), min(_CONNECT, self._timeout))
                break
            except OSError:
                if last:
                    raise
        plain.settimeout(self._timeout)
        if target.scheme == "http":
            watch.over(plain)
            return plain
        context = self._context or _context()
        secured = context.wrap_socket(plain, server_hostname=target.host, do_handshake_on_connect=False)
        watch.over(secured)
        try:
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        return secured


class _Watch:
    """Ends a connection once its time is up: a socket's own timeout begins anew with each byte."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._socket: socket.socket | None = None
        self._turn = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def over(self, connection: socket.socket) -> None:
        with self._turn:
            self._socket = connection
            if self.expired:
                self._shut()

    def _end(self) -> None:
        with self._turn:
            self.expired = True
            self._shut()

    def _shut(self) -> None:
        if self._socket:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # SSLSocket's own is not for two threads


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _with_last(addresses: list[str]) -> Iterator[tuple[bool, str]]:
    for number, address in enumerate(addresses, 1):
        yield number == len(addresses), address


def _beginning(answer: http.client.HTTPResponse, connection: socket.socket) -> bytes:
    """Of the body, as far as it comes at once: it decides nothing."""
    try:
        connection.settimeout(_BODY_TIMEOUT)
        return answer.read1(_MOST_BODY)
    except _NO_ANSWER:
        return b""


def _retry_after(text: str, now: datetime) -> timedelta | None:
    """Seconds or a date: RFC 9110, section 10.2.3."""
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), 10**9))
    try:
        return max(timedelta(), parsedate_to_datetime(text) - now)
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return None


def _said(error: Exception) -> str:
    """In words, without what the receiver sent."""
    if isinstance(error, http.client.RemoteDisconnected | ssl.SSLEOFError):
        return "the connection was closed without an answer"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}"
    if isinstance(error, socket.gaierror):
        return "the name could not be resolved"
    if isinstance(error, OSError):
        return f"connection failed: {error.strerror or error}"
    return f"no HTTP answer: {type(error).__name__}"
