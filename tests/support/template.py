"""template.yaml and infra/operations.yaml: their parts, and the settings that each function reads."""

from typing import Any

from pydantic import AliasChoices, AliasPath
from pydantic_settings import BaseSettings

from crewrelay.local.resources import Template
from crewrelay.settings import (
    ApiSettings,
    CallerSettings,
    CrewsSettings,
    EmbedderSettings,
    IntakeSettings,
    ModelSettings,
    NotifierSettings,
    RetrievalSettings,
    StoreSettings,
    UploadSettings,
    WorkerSettings,
)
from tests.support.processes import ROOT

OPERATIONS = ROOT / "infra/operations.yaml"
CREW = (CrewsSettings, ModelSettings, EmbedderSettings, RetrievalSettings)
SETTINGS: dict[str, tuple[type[BaseSettings], ...]] = {
    "api": (ApiSettings,),
    "authorizer": (StoreSettings,),
    "intake": (IntakeSettings,),
    "run": (CallerSettings, *CREW),
    "worker": (WorkerSettings, *CREW),
    "sweeper": (UploadSettings,),
    "notifier": (NotifierSettings,),
}


def resources(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Properties by logical id."""
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def functions(template: Template) -> dict[str, dict[str, Any]]:
    return resources(template, "AWS::Serverless::Function")


def entry_point(properties: dict[str, Any]) -> str:
    if properties.get("PackageType") == "Image":
        (handler,) = properties["ImageConfig"]["Command"]
        return str(handler)
    return str(properties["Handler"])


def variables_of(settings: type[BaseSettings]) -> dict[str, bool]:
    """The environment variables that a settings model reads; whether it must have them."""
    found = {}
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        assert not isinstance(alias, AliasPath | AliasChoices)
        found[alias or f"{settings.model_config['env_prefix']}{name}".upper()] = field.is_required()
    return found
