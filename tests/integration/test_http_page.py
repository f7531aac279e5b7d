"""The page at `/` and the documentation at `/docs`: what is answered to whom, and what a browser may do with it."""

import gzip
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from crewrelay.http import assets
from crewrelay.http.assets import Assets
from crewrelay.http.edge import Handler
from tests.support.aws_events import rest_event, text_of
from tests.support.fixtures import Storage
from tests.support.http_apps import api_app, assert_problem
from tests.support.processes import ROOT
from tests.support.stack import environment

FOLDER = ROOT / "functions/crewrelay/http/page"
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
LARGEST = 100_000  # bytes of all files of the page, each compressed
LINKED = re.compile(r"(?:src|href)=[\"']([^\"'#]*)[\"'#]")


@pytest.fixture
def client(storage: Storage) -> TestClient:
    return TestClient(api_app(storage), raise_server_exceptions=False)


def opened(client: TestClient, path: str = "/") -> Any:
    return client.get(path, headers={"Accept": CHROMIUM})


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, text/plain, */*", "text/html, application/json", None]
)
def test_the_root_is_json_to_whoever_is_no_browser(client: TestClient, accept: str | None) -> None:
    answer = client.get("/", headers={"Accept": accept} if accept else {})
    assert answer.json()["name"] == "crewrelay"
    assert answer.headers["vary"] == "Accept"


def test_the_root_is_a_page_to_a_browser(client: TestClient) -> None:
    answer = opened(client)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    assert "<main" in answer.text
    assert "{{" not in answer.text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_may_do_little_and_nobody_may_frame_it(client: TestClient, path: str) -> None:
    headers = opened(client, path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert {name: policy[name] for name in ("default-src", "script-src", "style-src", "connect-src", "base-uri")} == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
        "base-uri": "'none'",
    }  # fmt: skip
    assert policy["frame-ancestors"] == "'none'"
    assert ("require-trusted-types-for" in policy) is (path == "/")
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_files_of_this_service_alone_and_all_are_there(client: TestClient, path: str) -> None:
    text = opened(client, path).text
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=", text)
    found = [address for address in LINKED.findall(text) if address and not address.startswith("data:")]
    assert {Path(address).suffix for address in found} >= {".css", ".js"}
    for address in found:
        assert re.match(r"/(?!/)", address), address
        assert client.get(address).status_code == 200, address


def known(get: Assets) -> list[tuple[str, str]]:
    return [(name, f"/assets/{get.version}/{name}") for name in get.files]


def test_files_are_kept_for_ever_under_names_that_change_with_them(client: TestClient) -> None:
    for name, address in (*known(assets.page()), *known(assets.documentation())):
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(
            {"js": "text/javascript", "css": "text/css"}[name[-3:].strip(".")]
        )
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = client.get(address, headers={"If-None-Match": f'"other", W/{answer.headers["etag"]}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])


def test_the_page_is_asked_for_again_and_answered_if_it_changed(client: TestClient) -> None:
    first = opened(client)
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"Accept": CHROMIUM, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.headers["vary"]) == (304, "Accept")


@pytest.mark.parametrize("path", ["0/page.css", "{}/index.html", "{}/nothing.js", "{}/..%2Fapi.py", "{}/%2e%2e/api.py"])
def test_there_is_no_other_file(client: TestClient, path: str) -> None:
    assert_problem(client.get(f"/assets/{path.format(assets.page().version)}"), 404, "no_such_path")


def test_a_change_of_any_file_changes_the_version_of_all(tmp_path: Path) -> None:
    page, one, two = (tmp_path / name for name in ("index.html", "a.js", "b.js"))
    versions = set()
    for path, text in ((page, "{{assets}}"), (one, "1"), (two, "2"), (one, "3"), (page, "<p>{{assets}}")):
        for each in (page, one, two):
            each.touch()
        path.write_text(text)
        versions.add(Assets(page, {"a.js": one, "b.js": two}, "").version)
    assert len(versions) == 5


@pytest.mark.parametrize(
    ("sent", "base"), [("/prod", "/prod"), ("/prod/", "/prod"), ("/", ""), ("/v1/crews", "/v1/crews")]
)
def test_behind_a_stage_the_page_finds_its_files(handler: Handler, sent: str, base: str) -> None:
    event = rest_event("GET", "/", resource="/", sent_path=sent)
    event["headers"]["Accept"] = CHROMIUM
    event["multiValueHeaders"]["Accept"] = [CHROMIUM]
    answer = handler(event, None)
    files = [address for address in LINKED.findall(text_of(answer)) if "/assets/" in address]
    assert files
    for address in files:
        assert address.startswith(f"{base}/assets/")
        path = address.removeprefix(base)
        _, _, version, name = path.split("/")
        event = rest_event("GET", path, resource="/assets/{version}/{file}", sent_path=address)
        event["pathParameters"] = {"version": version, "file": name}
        file = handler(event, None)
        assert (file["statusCode"], file["isBase64Encoded"]) == (200, False)
        assert file["body"].encode() == assets.page().files[name]


def test_an_address_that_a_gateway_names_can_be_no_html(handler: Handler) -> None:
    event = rest_event("GET", "/", resource="/", sent_path='/"><script>alert(1)</script>')
    event["headers"]["Accept"] = CHROMIUM
    event["multiValueHeaders"]["Accept"] = [CHROMIUM]
    assert "<script>alert" not in text_of(handler(event, None))


def test_the_page_is_small() -> None:
    sizes = {
        path.name: len(gzip.compress(path.read_bytes(), 6)) for path in FOLDER.iterdir() if "docs" not in path.name
    }
    print(f"\nthe page: {len(sizes)} files, {sum(sizes.values()) / 1000:.1f} kB compressed one by one")
    assert sum(sizes.values()) <= LARGEST


def test_nothing_of_it_is_read_or_imported_at_start() -> None:
    """Nor of Swagger UI, whose package would bring its own app."""
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda name, given: name == 'open' and opened.append(str(given[0])))\n"
        "import api.handler\n"
        "from starlette.testclient import TestClient\n"
        "at_start = [path for path in opened if '/http/page/' in path or '/fastapi_offline/' in path]\n"
        "client = TestClient(api.handler.app)\n"
        "found = [client.get(path, headers={'Accept': 'text/html'}).status_code for path in ('/', '/docs')]\n"
        "later = [path for path in opened if '/http/page/' in path or '/fastapi_offline/' in path]\n"
        "print(at_start, found, bool(later), 'fastapi_offline' in sys.modules)"
    )
    aws = {
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "CREWRELAY_TABLE": "jobs", "CREWRELAY_BUCKET": "bodies", "CREWRELAY_QUEUE_URL": "http://127.0.0.1:1/jobs",
    }  # fmt: skip
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    said = run([sys.executable, "-c", code], env=environment(**aws, PATH=os.environ["PATH"])).stdout
    assert said.splitlines()[-1] == "[] [200, 200] True False"


def test_scripts_make_no_html_of_text() -> None:
    """They make nodes. What would parse, run or navigate to text is in none of them."""
    refused = re.compile(
        r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|eval|Function|"
        r"srcdoc|setHTML\w*|localStorage|document\.cookie)\b\s*\("
        r"|\b(inner|outer)HTML\b|\blocalStorage\b|https?://(?!www\.w3\.org/2000/svg)[a-z]"
    )
    found = {path.name: refused.findall(path.read_text()) for path in FOLDER.glob("*.js")}
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_each_module_imports_files_that_are_there() -> None:
    for path in FOLDER.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', path.read_text()):
            assert (FOLDER / name).exists(), f"{path.name}: {name}"


def test_the_pictures_of_the_documentation_show_this_page() -> None:
    assert (ROOT / "docs/images/page.version").read_text().strip() == assets.page().version, "`make browser` makes them"
    for picture in (ROOT / "docs/images").glob("*.png"):
        assert picture.stat().st_size < 250_000, picture
