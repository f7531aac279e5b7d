"""JSON log lines by Powertools, with request and job ids, and without text of callers and models.

Messages of other libraries, and of exceptions not our own, may contain topics, prompts or answers. They are omitted
unless CREWRELAY_LOG_CONTENT is set. (Why a job failed is in its status.)
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

_OURS = "crewrelay"  # the package, and the parent of all our loggers
_OUR_MESSAGES = (Misconfigured, StaleWrite, Unavailable)
_LEFT_OUT = "left out: CREWRELAY_LOG_CONTENT=true shows messages of other libraries"


class LogFormatter(LambdaPowertoolsFormatter):
    """`content` keeps messages of other libraries. `redacted` removes API keys from each line."""

    def __init__(self, content: bool, redacted: Callable[[str], str] = str) -> None:
        super().__init__(utc=True, use_rfc3339=True, serialize_stacktrace=False)
        self._content = content
        self._redacted = redacted

    def format(self, record: logging.LogRecord) -> str:
        shown = record if self._content else _without_content(record)
        line = super().format(logging.makeLogRecord({**log_keys(), "logger": record.name, **vars(shown)}))
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
    """The types and frames of an exception and its causes; messages only of our own exceptions."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield f"{type(error).__name__}: {error}" if isinstance(error, _OUR_MESSAGES) else type(error).__name__
        for frame in traceback.extract_tb(error.__traceback__):
            yield f"  {frame.filename}:{frame.lineno} {frame.name}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def service() -> str:
    return os.environ.get("POWERTOOLS_SERVICE_NAME", "crewrelay")


def configure(content: bool, redacted: Callable[[str], str]) -> None:
    """Install one handler on the root logger, where other libraries log too, in place of the Lambda runtime's. May be
    called again.
    """
    formatter = LogFormatter(content, redacted)
    logging.getLogger(_OURS).propagate = False
    Logger(service=_OURS, logger_formatter=formatter)  # also sets its name in each line
    formatter.append_keys(service=service(), function_name=os.environ.get("AWS_LAMBDA_FUNCTION_NAME"))
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root.handlers = [other for other in root.handlers if not _is_replaced(other)]
    root.addHandler(handler)


def _is_replaced(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("awslambdaric") or isinstance(handler.formatter, LogFormatter)


def by_request(handler: Callable[[dict[str, Any], Any], T]) -> Callable[[dict[str, Any], Any], T]:
    """Decorate a Lambda handler so that each of its log lines has the request id."""

    def invoked(event: dict[str, Any], context: Any) -> T:
        with logged_with(request_id=getattr(context, "aws_request_id", None)):  # tests may pass no context
            return handler(event, context)

    return invoked
