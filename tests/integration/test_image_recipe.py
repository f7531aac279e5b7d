"""infra/Dockerfile: what the image is made from, and with what."""

import re

from crewrelay.crews.environment import CREW_ENVIRONMENT
from tests.support.processes import ROOT


def test_the_images_tools_are_pinned_and_uv_is_the_one_that_made_the_lock() -> None:
    dockerfile, makefile = (ROOT / "infra/Dockerfile").read_text(), (ROOT / "Makefile").read_text()
    (used,) = re.findall(r"\buv==([\d.]+)", dockerfile)
    (locked_by,) = re.findall(r"^UV_VERSION := ([\d.]+)$", makefile, re.MULTILINE)
    assert used == locked_by
    assert re.search(r"^awslambdaric==\d", (ROOT / "locks/requirements.lock").read_text(), re.MULTILINE)


def test_the_image_stands_on_one_base_that_nobody_can_change() -> None:
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    (base,) = re.findall(r"^ARG PYTHON=(.+)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["$PYTHON", "$PYTHON"]


def test_the_image_and_the_local_stack_set_the_same_for_crewai() -> None:
    dockerfile = (ROOT / "infra/Dockerfile").read_text()
    for name, value in CREW_ENVIRONMENT.items():
        assert f"{name}={value}" in dockerfile
