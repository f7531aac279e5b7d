"""What `sam local` needs besides the built functions: storage, the variables that lead to it, a token.

python -m crewrelay.local.sam                       starts an emulator that containers reach, until Ctrl-C
python -m crewrelay.local.sam FROM_HERE FROM_THERE  uses a running one: its URL on this machine, and in containers
"""

import asyncio
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
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from crewrelay.aws.tokens import DynamoTokens
from crewrelay.local.credentials import REGION, Credentials
from crewrelay.local.first_token import first_token
from crewrelay.local.own_aws import start_emulator
from crewrelay.local.process import ChildDied
from crewrelay.local.resources import Template, create_storage, environment, load_template
from crewrelay.local.stack import TEMPLATE
from crewrelay.system import utcnow

# samconfig.toml names it. Without it SAM says only that this path is missing, so the path says what makes it.
VARIABLES = TEMPLATE.parent / ".aws-sam/made-by-make-sam-emulator.json"
CREDENTIALS = VARIABLES.with_name("aws.env")  # for the shell: `sam local` hands its own to the functions

# For an emulator that runs already. They are nobody's account, whatever the address.
_OF_ANY_EMULATOR = Credentials("local", "local")
_TIMEOUT: Any = {"connect_timeout": 2, "read_timeout": 10, "retries": {"total_max_attempts": 2}}


def prepare(from_here: str, from_there: str, credentials: Credentials, path: Path = VARIABLES) -> str:
    """Make the storage, unless it is there, and write the files of variables. Returns the header of a first token."""
    keys: Any = {name.lower(): value for name, value in credentials.variables.items()}
    client: Any = partial(boto3.client, endpoint_url=from_here, region_name=REGION, config=Config(**_TIMEOUT), **keys)
    template = load_template(TEMPLATE)
    storage = create_storage(client("cloudformation"), template)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"Parameters": variables(template, storage, from_there)}, indent=2) + "\n")
    credentials.write(path.with_name(CREDENTIALS.name), from_here)
    return first_token(DynamoTokens(client("dynamodb"), storage["JobsTable"], utcnow), "local")


def variables(template: Template, storage: dict[str, str], endpoint: str) -> dict[str, str]:
    """The variables of all functions. `sam local` gives each function those that the template declares for it."""
    functions = [name for name, item in template["Resources"].items() if item["Type"] == "AWS::Serverless::Function"]
    found = {"AWS_ENDPOINT_URL": endpoint}
    for function in functions:
        found |= environment(template, function, storage)
    return found


def bridge() -> str | None:
    """The address by which containers reach this machine on Linux. None without a Docker engine."""
    if shutil.which("docker") is None:
        return None
    command = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"]
    subnet = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return str(next(ip_network(subnet).hosts())) if subnet else None  # older engines don't say which it is


async def _serve(host: str) -> None:
    credentials = Credentials.new()
    emulator = await start_emulator(credentials, ".", host)
    try:
        url = f"http://{host}:{emulator.port}"
        _tell(url, await asyncio.to_thread(prepare, url, url, credentials))
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        ended = asyncio.create_task(emulator.ended())
        await asyncio.wait({ended, asyncio.create_task(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            sys.exit(f"the AWS emulator ended with code {ended.result()}; its memory was the table")
    finally:
        await emulator.stop()


def _tell(url: str, header: str) -> None:
    variables, credentials = (path.relative_to(TEMPLATE.parent) for path in (VARIABLES, CREDENTIALS))
    print(f"AWS is on {url}; {variables} leads `sam local` there, with the credentials in {credentials}\n{header}")
    sys.stdout.flush()


def main() -> None:
    try:
        match sys.argv[1:]:
            case []:
                host = bridge()
                if host is None:
                    sys.exit("sam local wants a Docker engine, and `docker version` finds none")
                asyncio.run(_serve(host))
            case [from_here, from_there]:
                _tell(from_here, prepare(from_here, from_there, _OF_ANY_EMULATOR))
            case _:
                sys.exit(__doc__)
    except ChildDied as died:
        sys.exit(
            f"can't listen on {host}, Docker's bridge on Linux: {died}. Elsewhere, use LocalStack (docs/deploy.md)"
        )
    except (BotoCoreError, ClientError, ValueError) as error:
        sys.exit(f"can't make the table, the queues and the bucket: {error}")
    except KeyboardInterrupt:  # while it started
        sys.exit(130)


if __name__ == "__main__":
    main()
