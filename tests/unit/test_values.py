"""The domain's values: nobody changes one that another holds."""

import importlib
import inspect
import pkgutil

import pytest
from pydantic import BaseModel

import crewrelay.jobs

MODULES = [
    importlib.import_module(module.name) for module in pkgutil.walk_packages(crewrelay.jobs.__path__, "crewrelay.jobs.")
]
MODELS = [
    model
    for module in MODULES
    for _, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, BaseModel) and model.__module__ == module.__name__
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_value_can_not_be_changed(model: type[BaseModel]) -> None:
    assert model.model_config.get("frozen") is True
