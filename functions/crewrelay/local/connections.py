"""Limits on connections that hold before a caller is authenticated: header size, number, time.

Uses h11, because httptools, uvicorn's other HTTP implementation, has no limit on headers: 160 MB take 30 s of CPU.
"""

import asyncio
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

LARGEST_HEAD = 16 * 1024  # bytes; API Gateway accepts 10,240 of headers
MOST_CONNECTIONS = 400  # of 1,024 open files; an inline run uses a second connection, to the crew process
SECONDS = 10.0  # to receive a request, headers and body, or each further megabyte of it
_MEGABYTE = 1024 * 1024


class _Connection(H11Protocol):
    """Closes if the next request is not completely received in time, and at once if there are too many connections."""

    _closing: asyncio.TimerHandle | None = None
    _received = 0  # bytes since the watch began

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.close()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._received += len(data)
        if self._received > _MEGABYTE:
            self._forget()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def _watch(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._forget()
        elif self._closing is None:
            self._received = 0
            self._closing = self.loop.call_later(SECONDS, self.transport.close)

    def _forget(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None


def bounded(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """The uvicorn configuration that serves an app within these limits."""
    return uvicorn.Config(
        app,
        http=_Connection,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        ws="none",
        lifespan="off",
        log_level="warning",
        **options,
    )
