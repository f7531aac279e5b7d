"""Reads Markdown, HTML and DOCX as pages whose sections have headings.

Haystack's converters lose headings. So HTML is converted to XML, which keeps them; headings of a DOCX are marked before
conversion; Markdown is rendered section by section, with the renderer of Haystack's converter.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from xml.etree import ElementTree

import yaml
from haystack.components.converters import DOCXToDocument, HTMLToDocument, TextFileToDocument
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_plain.renderer import RendererPlain
from trafilatura.settings import use_config

from crewrelay.jobs.text import in_one_line
from crewrelay.plain_yaml import refusals
from crewrelay.retrieval.chunks import Page, Section
from crewrelay.retrieval.reading.conversion import converted
from crewrelay.retrieval.reading.files import Unreadable
from crewrelay.retrieval.reading.limits import MB, PASSAGES, UNPACKED

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?P<yaml>.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_XML = {"output_format": "xml", "with_metadata": True, "favor_recall": True, "include_comments": False}
_SHORTEST = "25"  # characters; below its default of 250 trafilatura returns the words without structure
_NULL = "tag:yaml.org,2002:null"
_MARK = "\ue000"  # private use character, which no document contains


def markdown(data: bytes, source: str) -> Page:
    text = (converted(TextFileToDocument(), data).content or "").replace("\r\n", "\n")
    meta: dict[str, str] = {}
    if (front := _FRONT_MATTER.match(text)) and (found := _front_matter(front["yaml"])) is not None:
        meta, text = found, text[front.end() :]
    sections = list(_markdown_sections(text))
    return Page(meta.get("title") or _first(sections), meta.get("url") or source, sections)


def _front_matter(text: str) -> dict[str, str] | None:
    """Scalar entries of the front matter; None if it is just text between rules. No YAML objects are constructed."""
    try:
        refused = next(refusals(text), None)
        if refused:
            raise Unreadable(f"line {refused.line + 1}, in its front matter: {refused.what}")
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None
    if not isinstance(root, yaml.MappingNode):
        return None
    return {
        key.value: value.value
        for key, value in root.value
        if isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode) and value.tag != _NULL
    }


def html(data: bytes, source: str) -> Page:
    config = use_config()
    config.set("DEFAULT", "MIN_EXTRACTED_SIZE", _SHORTEST)
    content = converted(HTMLToDocument(extraction_kwargs={**_XML, "config": config}), data).content or ""
    root = ElementTree.fromstring(content)  # XML from the converter, not from the file
    sections = list(_xml_sections(root.find("main") or ()))
    return Page(root.get("title") or _first(sections), source, sections)


def docx(data: bytes, source: str) -> Page:
    from docx import Document
    from lxml.etree import ErrorTypes, XMLSyntaxError

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > UNPACKED:
                raise Unreadable(f"it unpacks to more than {UNPACKED // MB} MB")
        document = Document(io.BytesIO(data))
        if len(document.element.body) > PASSAGES:
            raise Unreadable(f"it has more than {PASSAGES:,} paragraphs; split it")
        headings = {style.style_id for style in document.styles if (style.name or "").startswith(("Heading", "Title"))}
        for paragraph in document.paragraphs:
            if paragraph._p.style in headings:  # `paragraph.style` searches all styles, 3 ms each
                paragraph.text = f"{_MARK}{in_one_line(paragraph.text)}"
        marked = io.BytesIO()
        document.save(marked)
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # those of zipfile, lxml and python-docx have no common base
        if isinstance(error, XMLSyntaxError) and error.code == ErrorTypes.ERR_NO_MEMORY:
            raise MemoryError from error
        raise Unreadable(in_one_line(str(error)) or type(error).__name__) from error
    content = converted(DOCXToDocument(), marked.getvalue()).content or ""
    sections = list(_marked_sections(content))
    return Page(document.core_properties.title or _first(sections), source, sections)


class _Plain(RendererPlain):  # type: ignore[misc]  # untyped package
    """Line breaks within a paragraph become spaces; each table row is a line."""

    def __init__(self, parser: object = None) -> None:
        super().__init__(parser)
        spaced = {"softbreak": " ", "table_open": "\n", "th_close": " ", "td_close": " ", "tr_close": "\n"}
        self.rules |= {kind: lambda *_, space=space: space for kind, space in spaced.items()}


def _markdown_sections(text: str) -> Iterator[Section]:
    parser = MarkdownIt("commonmark", renderer_cls=_Plain).enable("table")
    tokens = parser.parse(text)

    def rendered(part: Sequence[Token]) -> str:
        return str(parser.renderer.render(list(part), parser.options, {}))

    heading, start = "", 0
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0:
            yield Section(heading, rendered(tokens[start:at]))
            heading, start = in_one_line(rendered(tokens[at + 1 : at + 2])), at + 3
    yield Section(heading, rendered(tokens[start:]))


def _xml_sections(blocks: Iterable[ElementTree.Element]) -> Iterator[Section]:
    heading, texts = "", list[str]()
    for block in blocks:
        if block.tag == "head":
            yield Section(heading, "\n\n".join(texts))
            heading, texts = in_one_line("".join(block.itertext())), []
            continue
        # List items and table rows stay in one block, one per line.
        lines = [in_one_line(" ".join(part.itertext())) for part in block if part.tag in ("item", "row")]
        texts.append("\n".join(lines) or in_one_line("".join(block.itertext())))
    yield Section(heading, "\n\n".join(texts))


def _marked_sections(text: str) -> Iterator[Section]:
    heading, paragraphs = "", list[str]()
    for paragraph in text.split("\n"):
        if paragraph.startswith(_MARK):
            yield Section(heading, "\n\n".join(paragraphs))
            heading, paragraphs = paragraph.removeprefix(_MARK), []
        else:
            paragraphs.append(paragraph)
    yield Section(heading, "\n\n".join(paragraphs))


def _first(sections: list[Section]) -> str:
    return next((section.heading for section in sections if section.heading), "")
