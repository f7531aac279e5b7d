"""The file of `crewrelay login`: which API to call, and the token of each. Only its owner can read it."""

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from crewrelay.cli.terminal import fail, note

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PORTS = {"http": 80, "https": 443}


class Logins(NamedTuple):
    """`url` is what commands call that are told no other, "" if none. `tokens` are by address, "" if none is needed."""

    url: str
    tokens: Mapping[str, str]

    def with_token(self, url: str, token: str) -> "Logins":
        return Logins(url, {**self.tokens, url: token})

    def without(self, url: str) -> "Logins":
        kept = {other: token for other, token in self.tokens.items() if other != url}
        return Logins("" if self.url == url else self.url, kept)


def address(url: str) -> str:
    """One spelling of each address, so that a token is found by it."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        fail(f"{url} is no address: use one like https://api.example.org/prod")
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        fail(f"{url} is no address: use one like https://api.example.org/prod")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown_port = "" if port in (None, _PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown_port}{parts.path.rstrip('/')}"


def path() -> Path:
    """https://specifications.freedesktop.org/basedir-spec: a relative path counts as unset."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".config") / "crewrelay" / "config.json"


def read() -> Logins:
    file = path()
    try:
        with file.open(encoding="utf-8") as opened:
            _require_private(opened.fileno(), file)
            kept = json.load(opened)
        found = Logins(kept["url"], dict(kept["tokens"]))
    except FileNotFoundError:
        return Logins("", {})
    except OSError as error:
        fail(f"can't read {file}: {error.strerror or error}")
    except (ValueError, KeyError, TypeError):
        _refuse_damaged(file)
    if not all(isinstance(each, str) for each in (found.url, *found.tokens, *found.tokens.values())):
        _refuse_damaged(file)
    return found


def _refuse_damaged(file: Path) -> NoReturn:
    fail(f"{file} is damaged: delete it, and use `crewrelay login` again")


def write(logins: Logins) -> None:
    """Replace the file atomically."""
    file = path()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".config-", delete=False) as new:  # of mode 0600
            json.dump(logins._asdict(), new, indent=2)
            new.flush()
            os.fsync(new.fileno())
        os.replace(new.name, file)
    except OSError as error:
        fail(f"can't write {file}: {error.strerror or error}")


def _require_private(opened: int, file: Path) -> None:
    state = os.fstat(opened)
    if state.st_uid != os.getuid():
        fail(f"{file} belongs to another user: delete it, and use `crewrelay login` again")
    if state.st_mode & _OTHERS:
        os.fchmod(opened, stat.S_IMODE(state.st_mode) & ~_OTHERS)
        note(f"crewrelay: other users could read {file}; now only you can. Replace the tokens in it if they may have")
