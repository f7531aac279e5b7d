"""Starts an emulator for a stack without an AWS endpoint, and sets the environment variables to use it."""

import os

from crewrelay.local.credentials import REGION, Credentials
from crewrelay.local.process import ChildProcess


async def start_emulator(credentials: Credentials, folder: str, *arguments: str) -> ChildProcess:
    """Start it with only the variables that Python needs: our environment may hold API keys."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "LC_"))}
    kept |= {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return await ChildProcess.start("crewrelay.local.emulator", kept | credentials.variables, folder, *arguments)


def lead_to(emulator: str, credentials: Credentials) -> None:
    """Point all AWS clients to the emulator except Bedrock's, which keeps the user's endpoint and credentials."""
    from crewrelay.aws.clients import FOR_BEDROCK

    if "AWS_ACCESS_KEY_ID" in os.environ or "AWS_BEARER_TOKEN_BEDROCK" in os.environ:
        region = os.environ.setdefault("AWS_REGION", os.environ.get("AWS_DEFAULT_REGION", "us-east-1"))
        address = f"https://bedrock-runtime.{region}.amazonaws.com"
        os.environ.setdefault("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", address)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        if (value := os.environ.pop(name, None)) is not None:
            os.environ[FOR_BEDROCK + name] = value
    os.environ.update(credentials.variables)
    os.environ.update(AWS_ENDPOINT_URL=emulator, AWS_DEFAULT_REGION=REGION, AWS_EC2_METADATA_DISABLED="true")
    os.environ.pop("AWS_PROFILE", None)  # a crew process has another home, without the profile's files
    for name in ("NO_PROXY", "no_proxy"):  # a proxy can't reach our loopback
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))
