"""`make newcomer`: from a clone to an answer in the page, as who has nothing yet; then once more, with all in place.

    python3.11 -m tests.newcomer            exits with 1 if it takes longer than the README promises
    python3.11 -m tests.newcomer --patient  only prints

Needs what the README asks for: Python, git and make, with caches of packages that are empty. Committed files are
cloned. The answer is read in Chromium if `make browser` has made its environment, else by the page's own requests.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.newcomer import answered

ROOT = Path(__file__).parents[2]
FIRST, AGAIN = 120, 10  # seconds
_BROWSER = ROOT / ".venv-browser/lib/python3.11/site-packages"


class Step(NamedTuple):
    name: str
    seconds: float


@contextmanager
def step(steps: list[Step], name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    steps.append(Step(name, time.monotonic() - begun))
    print(f"  {steps[-1].seconds:6.1f} s  {name}", flush=True)


def main(patient: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="newcomer-") as place:
        clone = Path(place, "crewrelay")
        variables = without_caches(Path(place, "cache"))
        first, again = list[Step](), list[Step]()
        print("the first time, caches empty:")
        with step(first, "git clone"):
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        if (clone / ".venv").is_symlink() or (clone / ".venv").exists():
            sys.exit("the clone has a .venv already: setting it up would change somebody else's")
        with step(first, "make setup"):
            run(clone, variables, "make", "setup")
        used(clone, variables, first)
        print("the second time:")
        with step(again, "make setup, again"):
            run(clone, variables, "make", "setup")
        used(clone, variables, again)
    took = [sum(one.seconds for one in steps) for steps in (first, again)]
    print(f"{took[0]:.1f} s to the first answer (at most {FIRST}), {took[1]:.1f} s to the next (at most {AGAIN})")
    return 0 if patient or (took[0] <= FIRST and took[1] <= AGAIN) else 1


def used(clone: Path, variables: dict[str, str], steps: list[Step]) -> None:
    """Start it, open the page, ask, and have the answer shown."""
    port = free_port()
    command = ["make", "serve", f"PORT={port}"]
    process = subprocess.Popen(command, cwd=clone, env=variables, stdout=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        with step(steps, "make serve, until the page is there"):
            until_it_is_there(url, process)
        with step(steps, f"the answer, {'in Chromium' if in_chromium() else 'by the requests of the page'}"):
            if in_chromium():
                words = [str(ROOT / ".venv/bin/python"), "-m", "tests.newcomer.in_browser", url]
                run(ROOT, os.environ | {"PYTHONPATH": str(_BROWSER)}, *words)
            else:
                answered.read(url)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def in_chromium() -> bool:
    return _BROWSER.is_dir() and any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))


def until_it_is_there(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"}), timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"make serve ended with {process.returncode}")


def without_caches(folder: Path) -> dict[str, str]:
    """This environment, with caches of its own and nothing of ours. Where packages come from stays as it is."""
    kept = {
        name: value for name, value in os.environ.items() if not re.match(r"CREWRELAY_|PYTHON|VIRTUAL_ENV|MAKE", name)
    }
    caches = {"UV_CACHE_DIR": "uv", "PIP_CACHE_DIR": "pip", "XDG_CACHE_HOME": "other"}
    return kept | {name: str(folder / inner) for name, inner in caches.items()}


def run(folder: Path, variables: dict[str, str], *command: str) -> None:
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main("--patient" in sys.argv[1:]))
