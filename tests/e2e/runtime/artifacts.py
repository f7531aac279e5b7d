"""What `make build` has built: each function of template.yaml, with its files and its environment."""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crewrelay.local.resources import environment, load_template
from tests.support.processes import ROOT

_BUILT = ROOT / ".aws-sam"
_STAMP = _BUILT / ".built"
CREW = _BUILT / "crew"
TEMPLATE = load_template(ROOT / "template.yaml")


class Built(NamedTuple):
    """`tree` is what lies in /var/task; `heavy` are the functions of the crews' image."""

    name: str
    handler: str
    tree: Path
    timeout: int  # seconds
    memory: int  # MB
    heavy: bool

    @property
    def module(self) -> str:
        return self.handler.rpartition(".")[0]

    def variables(self, storage: dict[str, str]) -> dict[str, str]:
        """Its environment as deployed, by names and URLs of resources; what is not among them leads nowhere."""
        given: dict[str, Any] = {}
        for part in (TEMPLATE["Globals"]["Function"], TEMPLATE["Resources"][self.name]["Properties"]):
            given |= part.get("Environment", {}).get("Variables", {})
        plain = {name: _plain(name, value) for name, value in given.items() if not _is_left_out(value)}
        image = image_environment() if self.heavy else {"HOME": "/home/sbx_user1051"}  # which is not there
        return image | plain | environment(TEMPLATE, self.name, storage)


def _is_left_out(value: Any) -> bool:
    """Also what depends on a parameter, which are empty by default."""
    nothing = {"Ref": "AWS::NoValue"}
    return bool(value == nothing or (isinstance(value, dict) and value.get("Fn::If", [None])[-1] == nothing))


def _plain(name: str, value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    if value == {"Ref": "AWS::StackName"}:
        return "crewrelay"
    parameter = TEMPLATE.get("Parameters", {}).get(value.get("Ref"), {})
    return str(parameter.get("Default", f"http://127.0.0.1:9/{name.lower()}"))


AWS = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@cache
def image_environment() -> dict[str, str]:
    """The ENV block of the image's recipe."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", (ROOT / "infra/Dockerfile").read_text(), re.MULTILINE)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


def _built(name: str, resource: dict[str, Any]) -> Built:
    properties = TEMPLATE["Globals"]["Function"] | resource["Properties"]
    heavy = properties.get("PackageType") == "Image"
    handler = properties["ImageConfig"]["Command"][0] if heavy else properties["Handler"]
    tree = CREW if heavy else _BUILT / "build" / name
    return Built(name, handler, tree, properties["Timeout"], properties["MemorySize"], heavy)


FUNCTIONS = {
    name: _built(name, resource)
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}
LIGHT = [function for function in FUNCTIONS.values() if not function.heavy]
HEAVY = [function for function in FUNCTIONS.values() if function.heavy]
TREES = {function.tree: function for function in FUNCTIONS.values()}  # run and worker share one


def each(functions: list[Built]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("function", functions, ids=lambda function: function.name)


def require() -> None:
    """Fails where nothing is built, or what is built is older than its recipe."""
    if not _STAMP.is_file():
        pytest.fail("nothing is built: run `make build`", pytrace=False)
