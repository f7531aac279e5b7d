"""The model's key is in nothing that is logged, and the log still tells what went wrong."""

import json
import logging
import os
import subprocess
import sys

import pytest

from crewrelay.redaction import Redaction

KEY = "sk-0123456789abcdef"

_LOGS = f"""
import logging, sys
from crewrelay.wiring.logs import configure_logs, redaction
configure_logs()
redaction().hide("{KEY}")  # of a model that is built later
library = logging.getLogger("some.library")
library.warning("%d", "a fault of the library's own")
library.warning("refused %s", "{KEY}")
try:
    raise ValueError("no such key: {KEY}")
except ValueError:
    library.exception("failed")
    logging.getLogger("crewrelay.jobs").exception("record failed", extra={{"key": "{KEY}"}})
"""


@pytest.fixture(scope="module")
def printed() -> "subprocess.CompletedProcess[str]":
    told = {**os.environ, "CREWRELAY_LOG_CONTENT": "true"}  # all that there is
    return subprocess.run([sys.executable, "-c", _LOGS], capture_output=True, text=True, check=True, env=told)


def test_no_handler_writes_the_key(printed: "subprocess.CompletedProcess[str]") -> None:
    assert KEY not in printed.stdout + printed.stderr
    assert "refused [redacted]" in printed.stdout


def test_what_went_wrong_is_told_all_the_same(printed: "subprocess.CompletedProcess[str]") -> None:
    assert "ValueError: no such key: [redacted]" in printed.stdout
    record = json.loads(printed.stdout.splitlines()[-1])
    assert (record["message"], record["exception_name"]) == ("record failed", "ValueError")
    assert "no such key: [redacted]" in record["exception"]


@pytest.mark.parametrize("key", ["", "x", "e", "none", "sk-1234"])
def test_a_key_that_stands_in_other_words_is_left_there_and_that_is_said_without_it(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    redaction = Redaction()
    with caplog.at_level(logging.WARNING):
        redaction.hide(key)
    said = "execute sk-1234, none of them"
    assert redaction.text(said) == said
    assert [record.getMessage() for record in caplog.records] == [
        "A key shorter than 8 characters is in use: it is not removed from the log"
    ] * bool(key)


def test_a_key_of_eight_characters_is_hidden(caplog: pytest.LogCaptureFixture) -> None:
    redaction = Redaction()
    redaction.hide("sk-12345")
    assert redaction.text("refused sk-12345") == "refused [redacted]"
    assert not caplog.records


def test_of_a_key_that_holds_another_nothing_is_left() -> None:
    redaction = Redaction()
    for key in ("sk-12345", "sk-12345-of-the-project", "of-the-project"):
        redaction.hide(key)
    assert redaction.text("sk-12345-of-the-project") == "[redacted]"
