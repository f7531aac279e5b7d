"""The log: JSON lines by Powertools, with the ids of request and job, and without what callers and models wrote.

What other libraries say, and the messages of exceptions that are not ours, may hold a topic, a prompt or an answer, so
they are left out unless CREWRELAY_LOG_CONTENT asks for them. (The job's own status has the reason why it failed.)
"""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from crewrelay.jobs.errors import Misconfigured, StaleWrite, Unavailable
from crewrelay.jobs.log_keys import log_keys, logged_with

T = TypeVar("T")

_OURS = "crewrelay"  # the package, and so the logger that is the parent of all of ours
_WORDED_BY_US = (Misconfigured, StaleWrite, Unavailable)
_LEFT_OUT = "left out: CREWRELAY_LOG_CONTENT=true shows what other libraries say"


class LogFormatter(LambdaPowertoolsFormatter):
    """`content` shows what other libraries say. `redacted` is given each line, and takes the keys out of it."""

    def __init__(self, content: bool, redacted: Callable[[str], str] = str) -> None:
        super().__init__(utc=True, use_rfc3339=True, serialize_stacktrace=False)
        self._content = content
        self._redacted = redacted

    def format(self, record: logging.LogRecord) -> str:
        told = record if self._content else _without_content(record)
        line = super().format(logging.makeLogRecord({**log_keys(), "logger": record.name, **vars(told)}))
        return self._redacted(str(line))


def _without_content(record: logging.LogRecord) -> logging.LogRecord:
    error = record.exc_info[1] if record.exc_info else None
    raised = {"exception": "\n".join(_described(error)), "exception_name": type(error).__name__} if error else {}
    known = {**vars(record), "exc_info": None, "exc_text": None}
    if record.name.partition(".")[0] != _OURS:
        kept = ("name", "levelno", "levelname", "pathname", "lineno", "funcName", "created", "msecs")
        known = {"msg": _LEFT_OUT, **{name: known[name] for name in kept}}
    return logging.makeLogRecord({**known, **raised})


def _described(error: BaseException | None) -> Iterator[str]:
    """An exception and its causes: types, where they come from, and their messages if those are our own words."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield f"{type(error).__name__}: {error}" if isinstance(error, _WORDED_BY_US) else type(error).__name__
        for frame in traceback.extract_tb(error.__traceback__):
            yield f"  {frame.filename}:{frame.lineno} {frame.name}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def service() -> str:
    return os.environ.get("POWERTOOLS_SERVICE_NAME", "crewrelay")


def configure(content: bool, redacted: Callable[[str], str]) -> None:
    """One handler for the whole process, in place of the one that Lambda's runtime gives the root: other libraries log
    there. May be called again.
    """
    formatter = LogFormatter(content, redacted)
    logging.getLogger(_OURS).propagate = False
    Logger(service=_OURS, logger_formatter=formatter)  # which names the logger, too
    formatter.append_keys(service=service(), function_name=os.environ.get("AWS_LAMBDA_FUNCTION_NAME"))
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root.handlers = [other for other in root.handlers if not _is_replaced(other)]
    root.addHandler(handler)


def _is_replaced(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("awslambdaric") or isinstance(handler.formatter, LogFormatter)


def by_request(handler: Callable[[dict[str, Any], Any], T]) -> Callable[[dict[str, Any], Any], T]:
    """A Lambda handler, of which every line that it logs has its request's id."""

    def invoked(event: dict[str, Any], context: Any) -> T:
        with logged_with(
            request_id=getattr(context, "aws_request_id", None)
        ):  # who calls it by hand may give no context
            return handler(event, context)

    return invoked
