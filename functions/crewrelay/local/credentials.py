"""The credentials of an emulator: generated at its start, and the only ones that it accepts."""

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
        """The environment variables that AWS clients read."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}

    def write(self, path: Path, endpoint: str) -> None:
        """Write a shell file, readable by its owner only, to source before calling the emulator with AWS clients."""
        path.unlink(missing_ok=True)  # the mode applies to new files only
        variables = self.variables | {"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": endpoint}
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"export {name}={value}\n" for name, value in variables.items())
