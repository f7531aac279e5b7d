"""Reads files of all supported formats as pages."""

import io
from collections.abc import Callable
from pathlib import PurePath

from haystack.components.converters import PyPDFToDocument, TextFileToDocument

from crewrelay.jobs.text import in_one_line
from crewrelay.retrieval.chunks import Page, Section, titled_page
from crewrelay.retrieval.reading import markup
from crewrelay.retrieval.reading.conversion import cleaned, converted
from crewrelay.retrieval.reading.files import Unreadable
from crewrelay.retrieval.reading.names import address, title
from crewrelay.retrieval.reading.printed import running_text


def read_page(file: str, data: bytes, source: str) -> Page:
    """The page of a file; the format follows from its name. Raises Unreadable."""
    path = PurePath(file)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise Unreadable(f"its name ends with none of {', '.join(sorted(_READERS))}")
    if not data.strip():
        raise Unreadable("it is empty")
    try:
        page = read(data, source)
    except (Unreadable, MemoryError):
        raise
    except RecursionError as error:
        raise Unreadable("it is nested too deep") from error
    except Exception as error:  # any error of a parser on a broken file: the other files must still be read
        raise Unreadable(in_one_line(f"{type(error).__name__}: {error}")) from error
    sections = [
        Section(title(section.heading), text) for section in page.sections if (text := cleaned(section.text)).strip()
    ]
    if not sections:
        raise Unreadable("it holds no text")
    return Page(title(page.title) or path.stem, address(page.url, source), sections)


def _text(data: bytes, source: str) -> Page:
    if b"\0" in data:
        raise Unreadable("it is not text")
    text = converted(TextFileToDocument(), data).content or ""
    return titled_page(text) or Page("", source, [Section("", text)])


def _pdf(data: bytes, source: str) -> Page:
    text = running_text(converted(PyPDFToDocument(), data).content or "")
    if not text:
        raise Unreadable("it holds no text; its pages may be pictures")
    return Page(_pdf_title(data), source, [Section("", text)])


def _pdf_title(data: bytes) -> str:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        about = PdfReader(io.BytesIO(data)).metadata
        return str(about.title or "") if about else ""
    except (PyPdfError, LookupError, TypeError, ValueError):  # damaged metadata, readable pages
        return ""


_READERS: dict[str, Callable[[bytes, str], Page]] = {
    ".txt": _text,
    ".text": _text,
    ".md": markup.markdown,
    ".markdown": markup.markdown,
    ".html": markup.html,
    ".htm": markup.html,
    ".xhtml": markup.html,
    ".pdf": _pdf,
    ".docx": markup.docx,
}
