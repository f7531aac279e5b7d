"""Chooses what a stack keeps its jobs in."""

from importlib.util import find_spec
from pathlib import Path

from crewrelay.cli.machine.data import DEFAULT
from crewrelay.cli.terminal import fail
from crewrelay.local.engines import Engine, OnAws, OnSqlite
from crewrelay.local.own_aws import SomeEndpoints, endpoints


def engine_of(data: Path | None, aws: bool) -> Engine:
    """AWS if it is asked for, or if the environment names its endpoints and no folder is given."""
    try:
        elsewhere = endpoints()
    except SomeEndpoints as error:
        fail(str(error))
    if not aws and (data or not elsewhere):
        return OnSqlite(data or DEFAULT)
    if not elsewhere and find_spec("moto") is None:
        fail("the AWS emulator is missing: install crewrelay[emulator], or set AWS_ENDPOINT_URL")
    return OnAws()
