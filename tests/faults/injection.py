"""Faults between a process and AWS, put in by botocore's own hooks: the product's code is as it ships."""

import json
import os
import signal
import threading
from collections.abc import Callable
from enum import StrEnum
from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from botocore.exceptions import ReadTimeoutError

WRITES = ("PutItem", "UpdateItem", "TransactWriteItems", "SendMessage", "PutObject")


class Fate(StrEnum):
    """What becomes of one request on its way to AWS; a retry of botocore's is a request of its own."""

    THROTTLED = "throttled"
    CONFLICTED = "conflicted"  # with a transaction on the same item
    TIMED_OUT = "timed out"  # it never arrived
    REPLY_LOST = "reply lost"  # it was executed
    KILLED_BEFORE = "killed before"  # this process, with SIGKILL
    KILLED_AFTER = "killed after"


class Faults:
    """Sees every request of a client, and decides by operation and number what becomes of it."""

    def __init__(self, client: Any) -> None:
        self.sent: list[str] = []  # operations, in order
        self._http = client._endpoint.http_session
        self._turn = threading.Lock()
        self._rules: list[Callable[[str], Fate | None]] = []
        client.meta.events.register("before-send", self._before_send)

    def every(self, fate: Fate, *operations: str) -> None:
        """From now on, until `mend`."""
        self._rules.append(lambda operation: fate if operation in operations else None)

    def the_next(self, fate: Fate, *operations: str, times: int = 1) -> None:
        self.after(0, fate, *operations, times=times)

    def after(self, passed: int, fate: Fate, *operations: str, times: int = 1) -> None:
        """The first `passed` of these operations go well, the next `times` meet their fate."""
        seen = 0

        def rule(operation: str) -> Fate | None:
            nonlocal seen
            seen += operation in operations
            return fate if operation in operations and passed < seen <= passed + times else None

        self._rules.append(rule)

    def mend(self) -> None:
        self._rules.clear()

    def _before_send(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        with self._turn:
            self.sent.append(operation)
            fate = next(filter(None, [rule(operation) for rule in self._rules]), None)
        if fate is None:
            return None
        if fate in _REFUSALS:
            return _refused(request, _REFUSALS[fate])
        if fate in (Fate.REPLY_LOST, Fate.KILLED_AFTER):
            self._http.send(request)
        if fate in (Fate.KILLED_BEFORE, Fate.KILLED_AFTER):
            os.kill(os.getpid(), signal.SIGKILL)
        raise ReadTimeoutError(endpoint_url=request.url)


class _Raw(BytesIO):
    def stream(self, **_: Any) -> list[bytes]:
        return [self.read()]


_REFUSALS = {Fate.THROTTLED: "ThrottlingException", Fate.CONFLICTED: "TransactionConflictException"}


def _refused(request: AWSPreparedRequest, code: str) -> AWSResponse:
    body = json.dumps({"__type": f"com.amazonaws#{code}", "message": "refused by a test"}).encode()
    return AWSResponse(request.url, 400, HTTPHeaders.from_dict({"x-amzn-errortype": code}), _Raw(body))
