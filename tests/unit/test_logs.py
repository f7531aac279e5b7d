"""The log's lines: JSON with the ids of request and job, and nothing that a caller, a model or a library wrote."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from crewrelay.jobs.errors import InvalidRequest, Unavailable
from crewrelay.jobs.log_keys import logged_with
from crewrelay.logs import LogFormatter
from tests.support.stack import environment

CANARY = "canary-5c1e"


def told(name: str, message: str, *args: object, content: bool = False, **more: Any) -> dict[str, Any]:
    """The line of a record as it is written."""
    record = logging.getLogger(name).makeRecord(name, logging.WARNING, "file.py", 7, message, args, **more)
    line: dict[str, Any] = json.loads(LogFormatter(content).format(record))
    return line


def raised(error: BaseException, cause: BaseException | None = None) -> Any:
    try:
        raise error from cause
    except BaseException:
        return sys.exc_info()


def test_our_own_words_are_told_with_the_ids_of_where_they_are_said() -> None:
    with logged_with(request_id="r-1", job_id="j-1", tenant="acme", fence=2):
        line = told("crewrelay.jobs", "left to %s", "somebody", exc_info=None, extra={"relays": 3})
    known = {"request_id": "r-1", "job_id": "j-1", "tenant": "acme", "fence": 2, "relays": 3}
    assert known.items() <= line.items()
    assert (line["message"], line["level"], line["logger"]) == ("left to somebody", "WARNING", "crewrelay.jobs")
    assert line["timestamp"].endswith("+00:00")


def test_what_another_library_says_is_left_out() -> None:
    said = {"extra": {"prompt": CANARY}, "exc_info": raised(ValueError(CANARY))}
    line = told("crewai.llm", f"could not ask {CANARY}: %s", CANARY, **said)
    assert CANARY not in json.dumps(line)
    assert (line["logger"], line["exception_name"]) == ("crewai.llm", "ValueError")
    assert "CREWRELAY_LOG_CONTENT" in line["message"]


def test_of_exceptions_their_types_and_places_are_told_and_the_messages_of_our_own() -> None:
    error = Unavailable("The table did not answer.")
    cause = raised(KeyError(CANARY), InvalidRequest(f"{CANARY}: is no field"))[1]
    line = told("crewrelay.jobs", "failed", exc_info=raised(error, cause))
    assert CANARY not in json.dumps(line)
    steps = [step for step in line["exception"].splitlines() if not step.startswith("  ")]
    assert steps == ["Unavailable: The table did not answer.", "KeyError", "InvalidRequest"]
    assert f"{__file__}:" in line["exception"]
    assert line["exception_name"] == "Unavailable"


def test_all_of_it_is_told_if_that_is_asked_for() -> None:
    line = told("crewai.llm", "could not ask %s", CANARY, content=True, exc_info=raised(ValueError(CANARY)))
    assert line["message"] == f"could not ask {CANARY}"
    assert line["exception"].endswith(f"ValueError: {CANARY}")


@pytest.fixture(scope="module")
def printed() -> list[dict[str, Any]]:
    """By a process that has a handler of Lambda's runtime on its root, as on AWS."""
    program = f"""
import logging
from awslambdaric.bootstrap import LambdaLoggerHandler, StandardLogSink
logging.getLogger().addHandler(LambdaLoggerHandler(StandardLogSink()))
from crewrelay.wiring.logs import configure_logs
configure_logs()
configure_logs()
logging.getLogger("crewrelay.jobs").info("ours")
logging.getLogger("some.library").error("{CANARY}")
"""
    aws = {"POWERTOOLS_SERVICE_NAME": "a-stack", "AWS_LAMBDA_FUNCTION_NAME": "a-function"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment(**aws)
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_line_of_a_process_is_written_once_in_this_form(printed: list[dict[str, Any]]) -> None:
    assert [(line["logger"], line["level"]) for line in printed] == [
        ("crewrelay.jobs", "INFO"),
        ("some.library", "ERROR"),
    ]
    assert {(line["service"], line["function_name"]) for line in printed} == {("a-stack", "a-function")}
    assert CANARY not in json.dumps(printed)
