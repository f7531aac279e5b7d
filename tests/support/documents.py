"""Files of every format that is ingested, made by the tests."""

import io
from collections.abc import Sequence

import docx
from pypdf import PdfReader, PdfWriter


def pdf(*pages: Sequence[str], title: str = "") -> bytes:
    """A PDF of these lines, page by page."""
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        f"<</Title({title})>>",
    ]
    for number, lines in enumerate(pages):
        content = "BT /F1 12 Tf 50 700 Td 14 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        objects += [
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {6 + 2 * number} 0 R>>",
            f"<</Length {len(content)}>>stream\n{content}\nendstream",
        ]
    written, offsets = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, start=1):
        offsets.append(len(written))
        written += f"{number} 0 obj{body}endobj\n".encode()
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{at:010} 00000 n \n" for at in offsets)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R/Info 4 0 R>>\nstartxref\n{len(written)}\n%%EOF"
    return written + table.encode() + trailer.encode()


def encrypted(plain: bytes) -> bytes:
    writer, locked = PdfWriter(), io.BytesIO()
    writer.append(PdfReader(io.BytesIO(plain)))
    writer.encrypt("a password", algorithm="RC4-128")
    writer.write(locked)
    return locked.getvalue()


def word(*paragraphs: tuple[str | None, str], title: str = "") -> bytes:
    """A DOCX of (style, text) paragraphs."""
    document, written = docx.Document(), io.BytesIO()
    document.core_properties.title = title
    for style, text in paragraphs:
        document.add_paragraph(text, style=style)
    document.save(written)
    return written.getvalue()
