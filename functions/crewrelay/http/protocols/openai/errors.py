"""Our problems as OpenAI's clients read them."""

import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from crewrelay.http.problems import problem_of
from crewrelay.jobs.errors import CrewrelayError, StillRunning

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_FIELD = re.compile(r"([A-Za-z_][\w.-]*): ")


def refusal(problem: Mapping[str, Any]) -> Mapping[str, Any]:
    """The problem with the member `error`, which the clients read."""
    status, field = problem["status"], _FIELD.match(problem["detail"])
    error = {
        "message": f"{problem['detail']} {problem['remedy']}",
        "type": _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error"),
        "code": problem["type"].rpartition(":")[2],
        "param": field and field[1],
    }
    return {**problem, "error": error}


def refused(error: CrewrelayError) -> JSONResponse:
    """For what is no fault of the service, and not to be logged as one. Says whether a repetition helps."""
    answer = problem_of(error)
    headers = {"x-should-retry": "true" if error.retryable else "false"}
    if isinstance(error, StillRunning):
        headers["retry-after"] = "1"  # this request has waited already
    return JSONResponse(refusal(json.loads(bytes(answer.body))), answer.status_code, headers)
