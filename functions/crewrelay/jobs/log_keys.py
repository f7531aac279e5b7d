"""Keys that link a log line to its request and job, kept in a context variable.

Another thread only has them if the context is passed on. They hold ids, never text that a caller wrote.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from crewrelay.jobs.records.job import Job

Keys = Mapping[str, str | int]

_keys: ContextVar[Keys] = ContextVar("log_keys", default=MappingProxyType({}))
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def log_keys() -> Keys:
    return _keys.get()


def add_log_keys(**keys: str | int | None) -> None:
    """Add keys for the rest of this context; None values are left out."""
    _keys.set({**_keys.get(), **{name: key for name, key in keys.items() if key is not None}})


@contextmanager
def logged_with(**keys: str | int | None) -> Iterator[None]:
    before = _keys.get()
    add_log_keys(**keys)
    try:
        yield
    finally:
        _keys.set(before)


def keys_of(job: Job) -> dict[str, str | int | None]:
    return {"job_id": job.id, "tenant": job.tenant, "correlation_id": job.correlation_id}


def correlation_id() -> str | None:
    """The current correlation id, or None."""
    known = _keys.get().get("correlation_id")
    return None if known is None else str(known)


def correlation_id_of(text: str | None) -> str | None:
    """The text if it is a valid correlation id (1 to 64 letters, digits, `.`, `:`, `-`, `_`), else None."""
    return text if text is not None and _CORRELATION_ID.fullmatch(text) else None
