"""Files that somebody has made to hurt whoever ingests them, each with what becomes of it."""

import io
import os
import socket
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from crewrelay.retrieval.reading.limits import MB
from tests.support import documents

SECRET = "The password is swordfish."


class Hostile(NamedTuple):
    """`write` makes the file, in a folder beside which `outside` holds a secret. `reason` is why it is skipped, None
    if it is read and does no harm; `seconds` are those that it is given."""

    name: str
    write: Callable[[Path], object]
    reason: str | None
    seconds: int = 120


def content(made: bytes | str | Callable[[], bytes]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        data = made() if callable(made) else made
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    return write


def link(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def links(path: Path) -> None:
    """The first stays in the folder, the next leaves it."""
    (path.parent / "hop").symlink_to("../outside")
    path.symlink_to("hop/secret.txt")


def inner_link(path: Path) -> None:
    (path.parent / "below").mkdir()
    (path.parent / "below" / "named.txt").write_text("Text.")
    path.symlink_to("below/named.txt")


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        folder = os.open(path.parent, os.O_RDONLY)
        one.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's path has a hundred characters at most
        os.close(folder)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def aliases() -> str:
    """Its title, written out, takes a gigabyte."""
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(["---", "a0: &a0 [lol, lol]", *rows, "title: *a8", "---", "Text."])


def merges() -> str:
    rows = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    return "\n".join(["---", "a0: &a0 {a: b}", *rows, "title: A", "---", "Text."])


def docx(body: bytes, before: bytes = b"", parts: dict[str, bytes] | None = None) -> bytes:
    """Of this body in its document.xml, which `before` begins, and of more parts."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(documents.word(("Normal", "Text.")))) as plain,
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for entry in plain.infolist():
            part = plain.read(entry)
            if entry.filename == "word/document.xml":
                part = part.replace(b"<w:document", before + b"<w:document").replace(b"<w:sectPr", body + b"<w:sectPr")
            archive.writestr(entry.filename, part)
        for name, data in (parts or {}).items():
            archive.writestr(name, data)
    return made.getvalue()


def repeated(archive: bytes, times: int) -> bytes:
    """The last part of an archive is listed time and again; it is stored once."""
    end, last = archive.rindex(b"PK\x05\x06"), archive.rindex(b"PK\x01\x02")
    start = int.from_bytes(archive[end + 16 : end + 20], "little")
    listed = archive[start:last] + archive[last:end] * times
    count = (int.from_bytes(archive[end + 8 : end + 10], "little") + times - 1).to_bytes(2, "little")
    tail = archive[end : end + 8] + count * 2 + len(listed).to_bytes(4, "little") + archive[end + 16 :]
    return archive[:start] + listed + tail


def understated(archive: bytes, name: bytes) -> bytes:
    """An archive that says of a part that it has ten bytes."""
    at = archive.rindex(name) - 46
    return archive[: at + 24] + (10).to_bytes(4, "little") + archive[at + 28 :]


def zipped(**parts: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return made.getvalue()


def pdf(stream: bytes, filters: str) -> bytes:
    """Of one page, whose content is this."""
    head, _, rest = documents.pdf(["Text."]).partition(b"6 0 obj")
    described = f"<</Filter{filters}/Length {len(stream)}>>stream\n".encode()
    return head + b"6 0 obj" + described + stream + b"\nendstreamendobj\n" + rest.partition(b"endobj\n")[2]


def deflated(size: int, times: int = 1) -> bytes:
    squeeze = zlib.compressobj(1)
    data = b"".join([*(squeeze.compress(b" " * MB) for _ in range(size // MB)), squeeze.flush()])
    for _ in range(times - 1):
        data = zlib.compress(data)
    return data


PDF = documents.pdf(["Text."])
PARAGRAPH = b"<w:p><w:r><w:t>a</w:t></w:r></w:p>"
CELL, CELL_END = b"<w:tbl><w:tr><w:tc>", b"</w:tc></w:tr></w:tbl>"
ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
BOMB = f'<!DOCTYPE html [<!ENTITY e0 "lol">{ENTITIES}]>'
HTML = '<html xmlns="http://www.w3.org/1999/xhtml"><body><p>A text with &e11; and &file; in it.</p></body></html>'

OUT = "it is a link that leads out of its folder; name what it leads to instead"
NO_FILE = "it is not a regular file"
NO_TEXT = "it holds no text"
MEMORY = "reading it takes more than 256 MB of memory"
TIME = "reading it takes more than 1 s"


def external(url: str) -> str:
    """XML that has a parser read a file, and ask a server."""
    return f'<!DOCTYPE html [<!ENTITY e11 SYSTEM "{url}"><!ENTITY file SYSTEM "file:///etc/passwd">]>'


def zoo(url: str) -> list[Hostile]:
    """`url` is asked for by some of them, and must not be."""
    return [
        Hostile("a pipe.md", os.mkfifo, NO_FILE),
        Hostile("a socket.md", bound_socket, NO_FILE),
        Hostile("to a device.txt", link("/dev/zero"), OUT),
        Hostile("to passwords.txt", link("/etc/passwd"), OUT),
        Hostile("to its process.txt", link("/proc/self/environ"), OUT),
        Hostile("to what lies beside.txt", link("../outside/secret.txt"), OUT),
        Hostile("to a folder's namesake.txt", link("../docs-of-others/secret.txt"), OUT),
        Hostile("by two links.txt", links, OUT),
        Hostile("within.txt", inner_link, None),
        Hostile("to itself.txt", link("to itself.txt"), "Too many levels of symbolic links"),
        Hostile("to nothing.txt", link("nothing"), "No such file or directory"),
        Hostile("to its folder.txt", link("."), NO_FILE),
        Hostile("terabyte.txt", sparse, "it is larger than 64 MB"),
        Hostile("zeros.txt", content(b"\0" * 1000), "it is not text"),
        Hostile("aliases.md", content(aliases()), "line 3, in its front matter: the alias *a0 is not followed; "),
        Hostile("merges.md", content(merges()), "line 3, in its front matter: the alias *a0 is not followed; "),
        Hostile(
            "nested front.md",
            content(f"---\ntitle: {'[' * 100_000}{']' * 100_000}\n---\nText."),
            "line 2, in its front matter: it is nested more than 100 deep; flatten it",
        ),
        Hostile("an endless line.txt", content("a" * 500_000), None),
        Hostile("a sentence of blanks.txt", content(f"a.{' ' * 4 * MB}b"), None),
        Hostile("stops.txt", content("Dr. " * 50_000), None),
        Hostile("quotes.md", content(">" * 100_000 + "a"), NO_TEXT),
        Hostile("lists.md", content("".join(" " * n + "- a\n" for n in range(500))), None),
        Hostile("backticks.md", content("".join("`" * n + " " for n in range(600))), None),
        Hostile("brackets.md", content("[" * 20_000), None),
        Hostile("entities.xhtml", content(BOMB + HTML), None),
        Hostile("external.xhtml", content(external(url) + HTML), None),
        Hostile(
            "includes.html", content(f"<link href='{url}'><img src='{url}'><script src='{url}'></script>"), NO_TEXT
        ),
        Hostile("nested.html", content("<div>" * 100_000 + "Text."), NO_TEXT),
        Hostile("attributes.html", content(f"<p {' '.join(f'a{n}' for n in range(100_000))}>Text."), TIME, 1),
        Hostile(
            "two gigabytes.docx",
            content(lambda: repeated(docx(b"", parts={"a": bytes(10 * MB)}), 220)),
            "it unpacks to more than 256 MB",
        ),
        Hostile("elements.docx", content(lambda: docx(b"<w:p/>" * 2_000_000)), MEMORY),
        Hostile(
            "understated.docx",
            content(lambda: understated(docx(PARAGRAPH * 100_000), b"word/document.xml")),
            "Bad CRC-32 for file 'word/document.xml'",
        ),
        Hostile(
            "paragraphs.docx",
            content(lambda: docx(PARAGRAPH * 300_000)),
            "it has more than 50,000 paragraphs; split it",
        ),
        Hostile("paragraphs of a cell.docx", content(lambda: docx(CELL + PARAGRAPH * 3_000 + CELL_END)), None),
        Hostile("nested.docx", content(docx(CELL * 3000 + PARAGRAPH + CELL_END * 3000)), "Excessive depth in document"),
        Hostile(
            "entities.docx",
            content(docx(b"<w:p><w:r><w:t>&e11;</w:t></w:r></w:p>", BOMB.encode())),
            "Maximum entity amplification factor exceeded",
        ),
        Hostile(
            "external.docx",
            content(docx(b"<w:p><w:r><w:t>&e11;&file;</w:t></w:r></w:p>", external(url).encode())),
            "Entity 'e11' not defined",
        ),
        Hostile(
            "an archive.docx",
            content(zipped(a=zipped(b=documents.word(("Normal", "Text."))))),
            "There is no item named",
        ),
        Hostile(
            "archives within.docx", content(docx(b"", parts={"word/a.zip": repeated(zipped(a=bytes(MB)), 1000)})), None
        ),
        Hostile(
            "deflated.pdf",
            content(lambda: pdf(deflated(100 * MB), "/FlateDecode")),
            "Limit reached while decompressing",
        ),
        Hostile(
            "deflated twice.pdf",
            content(lambda: pdf(deflated(100 * MB, 2), "[/FlateDecode/FlateDecode]")),
            "Limit reached while decompressing",
        ),
        Hostile(
            "operators.pdf",
            content(lambda: pdf(zlib.compress(b"BT " + b"(a) Tj " * 500_000 + b"ET"), "/FlateDecode")),
            TIME,
            1,
        ),
        Hostile(
            "cyclic.pdf", content(PDF.replace(b"/Kids[5 0 R]", b"/Kids[2 0 R]")), "Detected cyclic page references"
        ),
        Hostile(
            "nested.pdf", content(PDF.replace(b"/MediaBox", b"/MediaBox" + b"[" * 100_000)), "Error reading PDF file"
        ),
    ]
