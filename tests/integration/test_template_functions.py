"""The functions of template.yaml are those of the code, with the variables that it reads."""

import re

from crewrelay.local.resources import Template
from crewrelay.local.stack import TEMPLATE
from crewrelay.settings import CallerSettings
from tests.support.processes import ROOT
from tests.support.template import CREW, OPERATIONS, SETTINGS, entry_point, functions, variables_of


def test_every_handler_is_deployed_and_nothing_else(template: Template) -> None:
    handlers = sorted(f"{path.parent.name}.handler.handler" for path in (ROOT / "functions").glob("*/handler.py"))
    assert sorted(map(entry_point, functions(template).values())) == handlers


def test_light_functions_are_zips_and_heavy_ones_share_one_image_recipe(template: Template) -> None:
    recipes = set()
    for name, properties in functions(template).items():
        heavy = entry_point(properties).split(".")[0] in ("run", "worker")
        assert (properties.get("PackageType") == "Image") is heavy, name
        if heavy:
            metadata = template["Resources"][name]["Metadata"]
            recipes.add((metadata["DockerContext"], metadata["Dockerfile"], metadata["DockerTag"]))
        else:
            assert properties["Runtime"] == "python3.11"
            assert (ROOT / properties["CodeUri"]).is_dir()
    ((context, dockerfile, _),) = recipes
    assert (ROOT / context / dockerfile).is_file()


def test_a_function_is_given_the_variables_that_its_settings_know_and_need(template: Template) -> None:
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    for name, properties in functions(template).items():
        known: dict[str, bool] = {}
        for settings in SETTINGS[entry_point(properties).split(".")[0]]:
            known |= variables_of(settings)
        given = shared | properties.get("Environment", {}).get("Variables", {})
        own = {variable for variable in given if not variable.startswith("POWERTOOLS_")}
        assert own - known.keys() <= shared.keys(), name  # the authorizer needs no more than the table
        assert {variable for variable, required in known.items() if required} - own == set(), name


def test_no_function_can_use_up_the_concurrency_of_another(template: Template) -> None:
    reserved = {name: function["ReservedConcurrentExecutions"] for name, function in functions(template).items()}
    # What the gateway lets in at once may each ask who calls, and the API.
    assert reserved["AuthorizerFunction"] == reserved["ApiFunction"] == {"Ref": "ThrottleBurst"}
    assert reserved["RunFunction"] == {"Ref": "RunConcurrency"}
    defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
    numbers = [defaults[each["Ref"]] if isinstance(each, dict) else each for each in reserved.values()]
    (said,) = re.findall(r"reserves (\d+) of", (ROOT / "docs/deploy.md").read_text())
    assert sum(numbers) == int(said) < 900  # of an account's 1,000, of which Lambda keeps 100


LIMITS = {
    "CREWRELAY_MAX_CALLS": "MaxCalls",
    "CREWRELAY_MAX_TOKENS": "MaxTokens",
    "CREWRELAY_MAX_RUNTIME_SECONDS": "MaxRuntimeSeconds",
    "CREWRELAY_MAX_UNFINISHED": "MaxUnfinished",
}


def test_the_limits_are_parameters_and_the_codes_own_unless_told_otherwise(template: Template) -> None:
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    for name, properties in functions(template).items():
        known = [variables_of(settings) for settings in SETTINGS[entry_point(properties).split(".")[0]]]
        given = shared | properties.get("Environment", {}).get("Variables", {})
        for variable in LIMITS.keys() & {variable for each in known for variable in each}:
            assert given[variable] == {"Ref": LIMITS[variable]}, name
    for variable, parameter in LIMITS.items():
        field = CallerSettings.model_fields[variable.removeprefix("CREWRELAY_").lower()]
        assert template["Parameters"][parameter]["Default"] == field.default
        assert template["Parameters"][parameter]["MinValue"] == 1


def test_nothing_secret_is_resolved_into_the_templates() -> None:
    for path in (TEMPLATE, OPERATIONS):
        assert "{{resolve:" not in path.read_text()


def test_a_function_has_no_key_in_its_environment_but_where_to_fetch_it(template: Template) -> None:
    keys = [
        variable
        for settings in CREW
        for variable in variables_of(settings)
        if variable.endswith(("_API_KEY", "_SECRET"))
    ]
    for properties in functions(template).values():
        given = properties.get("Environment", {}).get("Variables", {})
        named = [variable for variable in keys if variable in given]
        assert all(variable.endswith("_SECRET") for variable in named)
        assert not named or len(named) == len(CREW)


def test_an_update_reaches_the_notifier_before_the_api_puts_webhooks_for_it(template: Template) -> None:
    assert template["Resources"]["ApiFunction"]["DependsOn"] == "NotifierFunction"
