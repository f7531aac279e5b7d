"""What SAM makes of a template, by the programs of .venv-sam."""

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from crewrelay.local.resources import Template
from tests.support.processes import ROOT
from tests.support.template import functions, resources

SAM = ROOT / ".venv-sam/bin"

# No credentials and nobody to ask for them: the checks need none, and would stall looking for some.
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "SAM_CLI_TELEMETRY": "0",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

# What SAM does to a template when it is deployed. Reads one, prints the other.
TRANSLATE = """
import json, sys
from samtranslator.translator.transform import transform
class NoManagedPolicies:
    def load(self):
        return {}
print(json.dumps(transform(json.load(sys.stdin), {}, NoManagedPolicies())))
"""


def command(home: Path, *arguments: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """In a home of its own: what lies in the developer's, credentials too, has no say."""
    env = ENVIRONMENT | {"HOME": str(home)}
    return subprocess.run(arguments, env=env, input=given, capture_output=True, text=True, check=False)


def deployable(template: Template) -> Template:
    """As `sam package` leaves it."""
    template = copy.deepcopy(template)
    for name, properties in functions(template).items():
        template["Resources"][name].pop("Metadata", None)
        if properties.get("PackageType") == "Image":
            properties["ImageUri"] = "123456789012.dkr.ecr.us-east-1.amazonaws.com/crewrelay:crew"
        else:
            properties["CodeUri"] = "s3://bucket/key"
    for properties in resources(template, "AWS::Serverless::Application").values():
        properties["Location"] = "https://s3.amazonaws.com/bucket/key"
    return template


def translated(template: Template, folder: Path) -> dict[str, Any]:
    """The resources that SAM makes of it."""
    result = command(folder, SAM / "python", "-c", TRANSLATE, given=json.dumps(deployable(template)))
    assert result.returncode == 0, result.stderr
    made: dict[str, Any] = json.loads(result.stdout)["Resources"]
    return made
