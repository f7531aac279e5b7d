"""The only credentials that an emulator takes: made at its start, known to whoever started it."""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

REGION = "us-east-1"


class Credentials(NamedTuple):
    access_key_id: str
    secret_access_key: str

    @classmethod
    def new(cls) -> "Credentials":
        return cls(f"LOCAL{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))

    @classmethod
    def of_environment(cls) -> "Credentials":
        return cls(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])

    @property
    def variables(self) -> dict[str, str]:
        """As AWS's clients read them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}

    def write(self, path: Path, endpoint: str) -> None:
        """Write a file for its owner alone, to be sourced by a shell whose clients are to ask the emulator."""
        path.unlink(missing_ok=True)  # the mode is that of a new file only
        variables = self.variables | {"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": endpoint}
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"export {name}={value}\n" for name, value in variables.items())
