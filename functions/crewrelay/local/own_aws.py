"""Which AWS a stack uses: the endpoints that its environment names, else an emulator with credentials of its own."""

import os

from crewrelay.local.credentials import REGION, Credentials
from crewrelay.local.process import ChildProcess

_EVERYTHING = "AWS_ENDPOINT_URL"
_OF_SERVICES = {name: f"AWS_ENDPOINT_URL_{name}" for name in ("DYNAMODB", "SQS", "S3")}  # each goes before the other


class SomeEndpoints(Exception):
    """The environment names the endpoints of some services: the others would be asked on AWS itself."""


def endpoints() -> dict[str, str]:
    """The endpoint of each service that holds storage; none if the environment names none. Raises SomeEndpoints."""
    everything = os.environ.get(_EVERYTHING, "")
    found = {name: os.environ.get(variable) or everything for name, variable in _OF_SERVICES.items()}
    missing = [_OF_SERVICES[name] for name in found if not found[name]]
    if 0 < len(missing) < len(found):
        given = ", ".join(_OF_SERVICES[name] for name in found if found[name])
        raise SomeEndpoints(f"{given} alone is not enough: set {_EVERYTHING} as well, or {' and '.join(missing)}")
    return {} if missing else found


async def start_emulator(credentials: Credentials, folder: str, *arguments: str) -> ChildProcess:
    """It gets of our environment only what Python needs: keys of models are there, too."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "LC_"))}
    kept |= {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return await ChildProcess.start("crewrelay.local.emulator", kept | credentials.variables, folder, *arguments)


def lead_to(emulator: str, credentials: Credentials) -> None:
    """Set the variables that lead to the emulator. Bedrock is still asked as they were, with their credentials."""
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
