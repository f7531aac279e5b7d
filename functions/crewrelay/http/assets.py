"""Files for browsers under names that change with their content. They are read when the first of them is asked for."""

import hashlib
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from fastapi import Request, Response

from crewrelay.http.links import root_path

_OWN = Path(__file__).with_name("page")
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_OPENER = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
# Of our own page: the browser itself refuses to make HTML of text.
STRICTEST = f"{_POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"
_FOREVER = "public, max-age=31536000, immutable"


class Assets:
    """An HTML page and the files that it loads. `version` is a hash of them all: scripts name each other by relative
    addresses, so they change together.
    """

    def __init__(self, page: Path, files: Mapping[str, Path], policy: str) -> None:
        self._page = page.read_text()
        self._policy = policy
        self.files = {name: path.read_bytes() for name, path in files.items()}
        known = hashlib.sha256(self._page.encode())
        for name, content in sorted(self.files.items()):
            known.update(f"\n{name} {hashlib.sha256(content).hexdigest()}".encode())
        self.version = known.hexdigest()[:16]

    def page(self, request: Request) -> Response:
        """The page, with the addresses of its files as its reader reaches them, behind a stage too."""
        base = escape(root_path(request))
        html = self._page.replace("{{base}}", base).replace("{{assets}}", f"{base}/assets/{self.version}")
        headers = {"Content-Security-Policy": self._policy, "Cache-Control": "no-cache"}
        return _answer(request, html.encode(), ".html", headers)

    def file(self, request: Request, name: str) -> Response:
        return _answer(request, self.files[name], Path(name).suffix, {"Cache-Control": _FOREVER})


def _answer(request: Request, content: bytes, suffix: str, headers: dict[str, str]) -> Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**_OPENER, **headers, "ETag": tag}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[suffix], headers=headers)


@cache
def page() -> Assets:
    """The page at `/`."""
    files = {path.name: path for path in _OWN.iterdir() if path.suffix != ".html" and not path.name.startswith("docs")}
    return Assets(_OWN / "index.html", files, STRICTEST)


@cache
def documentation() -> Assets:
    """Swagger UI, whose files a package ships. Its code is not imported."""
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    shipped = Path(spec.origin).with_name("static")
    files = {name: shipped / name for name in ("swagger-ui-bundle.js", "swagger-ui.css")}
    return Assets(_OWN / "docs.html", files | {name: _OWN / name for name in ("docs.js", "docs.css")}, _POLICY)
