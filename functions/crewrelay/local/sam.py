"""What `sam local` needs besides the built functions: the template's storage, the variables that lead there, a token.

python -m crewrelay.local.sam                       an emulator that containers reach, until Ctrl-C
python -m crewrelay.local.sam FROM_HERE FROM_THERE  one that runs: its URL for us, and for containers
"""

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import boto3

from crewrelay.local.first_token import first_token
from crewrelay.local.process import ChildProcess
from crewrelay.local.resources import Template, create_storage, environment, load_template
from crewrelay.local.stack import TEMPLATE

VARIABLES = TEMPLATE.parent / ".aws-sam/local.json"  # samconfig.toml names it

# Not this machine's: whatever the address, it is no account of anybody's.
_CREDENTIALS = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
_client: Any = partial(boto3.client, region_name="us-east-1", **_CREDENTIALS)


def prepare(from_here: str, from_there: str, path: Path = VARIABLES) -> str:
    """Make the storage, unless it is there, and write the file of variables; the header of a first token."""
    template = load_template(TEMPLATE)
    storage = create_storage(_client("cloudformation", endpoint_url=from_here), template)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"Parameters": variables(template, storage, from_there)}, indent=2) + "\n")
    return first_token(_client("dynamodb", endpoint_url=from_here), storage["JobsTable"], "local")


def variables(template: Template, storage: dict[str, str], endpoint: str) -> dict[str, str]:
    """Those of all functions. `sam local` gives each those that the template declares for it."""
    functions = [name for name, item in template["Resources"].items() if item["Type"] == "AWS::Serverless::Function"]
    found = {"AWS_ENDPOINT_URL": endpoint}
    for function in functions:
        found |= environment(template, function, storage)
    return found


def bridge() -> str | None:
    """The address by which containers reach this machine, on Linux; None without a Docker engine."""
    if shutil.which("docker") is None:
        return None
    command = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"]
    subnet = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return str(next(ip_network(subnet).hosts())) if subnet else None  # older engines don't say which it is


async def _serve(host: str) -> None:
    emulator = await ChildProcess.start("crewrelay.local.emulator", {}, ".", host)
    try:
        url = f"http://{host}:{emulator.port}"
        _tell(url, await asyncio.to_thread(prepare, url, url))
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        ended = asyncio.create_task(emulator.ended())
        await asyncio.wait({ended, asyncio.create_task(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await emulator.stop()


def _tell(url: str, header: str) -> None:
    print(f"AWS is on {url}; {VARIABLES.relative_to(TEMPLATE.parent)} leads `sam local` there\n{header}", flush=True)


def main() -> None:
    match sys.argv[1:]:
        case []:
            host = bridge()
            if host is None:
                sys.exit("sam local wants a Docker engine, and `docker version` finds none")
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_serve(host))
        case [from_here, from_there]:
            _tell(from_here, prepare(from_here, from_there))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
