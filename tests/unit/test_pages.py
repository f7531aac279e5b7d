"""Files of each format read as pages: title, headings, clean text, and what can't be read refused with the reason."""

import contextlib

import pytest

from crewrelay.retrieval.chunks import Page, Section
from crewrelay.retrieval.reading.files import FORMATS, Unreadable
from crewrelay.retrieval.reading.pages import read_page
from tests.support import documents


def read(name: str, content: str | bytes) -> Page:
    return read_page(name, content if isinstance(content, bytes) else content.encode(), f"docs/{name}")


def test_text_is_titled_by_its_name_and_keeps_its_paragraphs() -> None:
    page = read("notes.txt", "\ufeffOne\tline.  \r\nAnother.\r\n\r\n\r\n\r\n# no heading\x07\n")
    assert page == Page("notes", "docs/notes.txt", [Section("", "One line.\nAnother.\n\n# no heading")])


def test_text_that_names_its_title_and_source_has_them_and_its_headings() -> None:
    page = read("wal.txt", "Title: Write-Ahead\nSource: https://example.org/wal\n\nFirst.\n\n## Overview\n\nSecond.\n")
    assert (page.title, page.url) == ("Write-Ahead", "https://example.org/wal")
    assert [(heading, text.strip()) for heading, text in page.sections] == [("", "First."), ("Overview", "Second.")]


MARKDOWN = """\
# The *title*

A paragraph that is
wrapped, with `code` and a [link][1].

Below it
--------

- one
- two

```python
# no heading
```

| a | b |
|---|---|
| 1 | 2 |

[1]: https://example.org
"""


def test_markdown_loses_its_marks_and_keeps_its_headings() -> None:
    page = read("page.md", MARKDOWN)
    assert page.title == "The title"
    assert page.sections == [
        Section("The title", "A paragraph that is wrapped, with code and a link."),
        Section("Below it", "one\ntwo\n\n# no heading\n\na b\n1 2"),
    ]


def test_front_matter_names_title_and_url() -> None:
    page = read("page.md", "---\ntitle: Named\nurl: https://example.org/p\n---\n\n# Other\n\nText.\n")
    assert page == Page("Named", "https://example.org/p", [Section("Other", "Text.")])


@pytest.mark.parametrize(
    ("line", "title", "url"),
    [
        ("title: 2024-02-31", "2024-02-31", "docs/page.md"),
        ("title: ~", "Heading", "docs/page.md"),
        ("title: [a, b]", "Heading", "docs/page.md"),
        ("title: {a: b}\nurl: [c]", "Heading", "docs/page.md"),
        ("? [a]\n: b\ntitle: Named", "Named", "docs/page.md"),
        ('title: "\\e]0;owned\\a\\u202eevil\\x9b31m\\r\\nnext"', "]0;ownedevil31m next", "docs/page.md"),
        (f"title: {'long ' * 1000}", ("long " * 60)[:300], "docs/page.md"),
        ("url: HTTPS://example.org/a:b", "Heading", "HTTPS://example.org/a:b"),
        ("url: ../other/page.html#a:b", "Heading", "../other/page.html#a:b"),
        ("url: javascript:alert(1)", "Heading", "docs/page.md"),
        ("url: JaVaScRiPt:alert(1)//http://a", "Heading", "docs/page.md"),
        ('url: "java\\tscript:alert(1)"', "Heading", "docs/page.md"),
        ('url: "\\x01java\\x1fscript:alert(1)"', "Heading", "docs/page.md"),
        ("url: data:text/html,<script>alert(1)</script>", "Heading", "docs/page.md"),
        ("url: vbscript:a", "Heading", "docs/page.md"),
        ("url: file:///etc/passwd", "Heading", "docs/page.md"),
        ("url: https:evil", "Heading", "docs/page.md"),
        (f"url: https://example.org/{'a' * 3000}", "Heading", "docs/page.md"),
    ],
)
def test_front_matter_names_what_can_be_shown_and_followed_safely(line: str, title: str, url: str) -> None:
    page = read("page.md", f"---\n{line}\n---\n\n# Heading\n\nText.\n")
    assert page == Page(title, url, [Section("Heading", "Text.")])


def test_titles_headings_and_texts_have_no_control_characters() -> None:
    evil = "a\x1b]0;b\x07c\x9bd"
    page = read("wal.txt", f"Title: {evil}\nSource: javascript:{evil}\n\n# {evil}\n\n{evil}\r\n")
    assert page == Page("a]0;bcd", "docs/wal.txt", [Section("a]0;bcd", "a]0;bcd")])


def test_a_path_that_begins_like_a_scheme_is_a_relative_address() -> None:
    page = read_page("a.md", b"Text.", "javascript:alert(1)//a.md")
    assert page.url == "./javascript:alert(1)//a.md"


@pytest.mark.parametrize("text", ["---\n\nText.\n\n---\n", "---\n: [\n---\n\nText.\n"])
def test_rules_are_no_front_matter(text: str) -> None:
    assert "Text." in read("page.md", text).sections[0].text


HTML = """\
<html><head><meta charset="utf-8"><title>Manual</title></head><body>
<nav><a href="/">Home</a> <a href="/b">Buy now</a></nav>
<main><h1>Pumps</h1><p>A pump moves water &amp; <b>other</b> fluids. Käufer wählen x&lt;y.</p>
<h2>Care</h2><p>Oil it
weekly.</p><ul><li>one</li><li>two</li></ul><table><tr><td>a</td><td>b</td></tr></table></main>
<footer>Copyright</footer><script>alert(1)</script></body></html>"""


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_html_keeps_what_is_read_and_its_headings(encoding: str) -> None:
    page = read("page.html", HTML.replace("utf-8", encoding).encode(encoding))
    assert page.title == "Pumps"
    assert page.sections == [
        Section("Pumps", "A pump moves water & other fluids. Käufer wählen x<y."),
        Section("Care", "Oil it weekly.\n\none\ntwo\n\na b"),
    ]


def test_pdf_lines_are_joined_and_what_every_page_repeats_goes() -> None:
    words = ("alpha", "beta", "gamma", "delta")
    pages = [
        [
            "The Running Head Of This Book",
            f"{word} is bro-",
            f"ken. Here {word} ends",
            f"with {word}.",
            f"Page {number}",
        ]
        for number, word in enumerate(words, start=9)
    ]
    page = read("book.pdf", documents.pdf(*pages, title="A book"))
    assert (page.title, page.url) == ("A book", "docs/book.pdf")
    text = " ".join(f"{word} is broken. Here {word} ends with {word}." for word in words)
    assert page.sections == [Section("", text)]


def test_pdf_of_few_pages_loses_nothing() -> None:
    page = read("two.pdf", documents.pdf(["Same first line.", "One."], ["Same first line.", "Two."]))
    assert page.sections == [Section("", "Same first line. One. Same first line. Two.")]


def test_pdf_without_a_title_has_its_name() -> None:
    assert read("report.pdf", documents.pdf(["Some text."])).title == "report"


def test_docx_keeps_its_headings() -> None:
    content = documents.word(
        ("Heading 1", "First"),
        ("Normal", "One. Two."),
        ("List Bullet", "item"),
        ("Heading 2", "Second"),
        ("Normal", "Three."),
    )
    page = read("letter.docx", content)
    assert page.title == "First"
    assert page.sections == [Section("First", "One. Two.\n\nitem"), Section("Second", "Three.")]
    assert read("unstyled.docx", documents.word((None, "One."), ("Title", "Two."), (None, "Three."))).sections == [
        Section("", "One."),
        Section("Two.", "Three."),
    ]
    assert read("titled.docx", documents.word(("Normal", "Text."), title="Named")).title == "Named"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"", "empty"),
        ("blank.md", b" \n\n", "empty"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\0\0", "not text"),
        ("latin.txt", "Käufer".encode("latin-1"), "not UTF-8"),
        ("latin.md", "Käufer".encode("latin-1"), "not UTF-8"),
        ("corrupt.pdf", b"%PDF-1.4\nnothing", "Stream has ended unexpectedly"),
        ("cut.pdf", documents.pdf(["Text."])[:200], "."),
        ("encrypted.pdf", documents.encrypted(documents.pdf(["Text."])), "not been decrypted"),
        ("scan.pdf", documents.pdf([]), "pictures"),
        ("corrupt.docx", b"PK nothing", "not a zip file"),
        ("empty.html", b"<html><body></body></html>", "no text"),
        ("headings.md", b"# Nothing\n\n## Else\n", "no text"),
        ("tool.exe", b"MZ", "its name ends with none of .docx, .htm"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(name, content)


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_format_has_a_reader(suffix: str) -> None:
    with pytest.raises(Unreadable, match="it is empty"):
        read(f"empty{suffix}", b"")


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_garbage_of_any_name_is_read_or_refused_and_nothing_else(suffix: str) -> None:
    for garbage in (
        bytes(range(256)) * 40,
        b"<" * 5000,
        b"[" * 5000,
        b"\xed\xa0\x80",
        b"%PDF-1.7\n%%EOF",
        b"PK\x03\x04" * 99,
    ):
        with contextlib.suppress(Unreadable):
            assert read(f"garbage{suffix}", garbage).sections
