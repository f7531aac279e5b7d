"""Converts a file's bytes with a Haystack converter, and cleans its text."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from haystack.components.preprocessors import DocumentCleaner
from haystack.dataclasses import ByteStream, Document

from crewrelay.jobs.text import in_one_line, well_formed
from crewrelay.retrieval.reading.files import Unreadable

_CONTROL = "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\ufeff]"
_LOGGERS = ("haystack.components.converters", "pypdf", "trafilatura", "htmldate")

# The cleaner's own white space options would remove paragraph ends too, and its option for repeated text would remove
# any three words that two pages share.
_CLEANER = DocumentCleaner(
    unicode_normalization="NFC",
    remove_empty_lines=False,
    remove_extra_whitespaces=False,
    replace_regexes={_CONTROL: "", r"\r\n?": "\n", r"[^\S\n]+": " ", r" ?\n ?": "\n", r"\n{3,}": "\n\n"},
    strip_whitespaces=True,
)


class Converter(Protocol):
    def run(self, sources: Any) -> dict[str, Any]: ...


def converted(converter: Converter, data: bytes) -> Document:
    """The converter's first document. Raises Unreadable."""
    with _complaints() as complaints:
        documents: list[Document] = converter.run([ByteStream(data)])["documents"]
    if not documents or documents[0].content is None:
        raise Unreadable(in_one_line(complaints[-1]) if complaints else "it holds no text")
    return documents[0]


def cleaned(text: str) -> str:
    """The text with white space normalised and control characters removed."""
    content = _CLEANER.run([Document(content=well_formed(text))])["documents"][0].content or ""
    return content.replace("\f", "\n\n")


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collects from the log why a converter returns no document; converters do not raise."""
    handler = _ReasonHandler()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield handler.reasons
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate


class _ReasonHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if reason := getattr(record, "error", None):  # the field in which converters log the exception
            if isinstance(reason, MemoryError):
                raise reason
            not_utf8 = isinstance(reason, UnicodeDecodeError)
            self.reasons.append("it is not UTF-8 text" if not_utf8 else str(reason) or type(reason).__name__)
