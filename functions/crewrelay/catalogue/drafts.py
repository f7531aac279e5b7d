"""Items of batches as they were sent, checked: what is wrong with one spoils no other."""

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from crewrelay.catalogue.request import complaints, request_of
from crewrelay.jobs.access import Caller
from crewrelay.jobs.batches.lines import LONGEST_LINE, Line
from crewrelay.jobs.batches.rows import ReadLine
from crewrelay.jobs.errors import ForeignCollection
from crewrelay.jobs.records.job import JobInput

LONGEST_ID = 64  # characters
_LONGEST_REJECTION = 100  # bytes that are kept of it


class Draft(BaseModel):
    """It has a `job_input`, or `errors` as a problem has them."""

    sent: Any
    custom_id: str | None = None
    job_input: JobInput | None = None
    errors: list[dict[str, str]] = []

    def permitted(self, caller: Caller) -> "Draft":
        """With inputs that the caller may send."""
        try:
            return self.model_copy(update={"job_input": self.job_input and caller.permitted(self.job_input)})
        except ForeignCollection as error:
            return self.model_copy(
                update={"job_input": None, "errors": [{"field": "collection", "message": str(error)}]}
            )

    @property
    def rejection(self) -> str:
        said = "; ".join(f"{error['field']}: {error['message']}".removeprefix(": ") for error in self.errors)
        return said.encode("utf-8", "replace")[:_LONGEST_REJECTION].decode(errors="ignore")


def draft_of(sent: Any) -> Draft:
    if not isinstance(sent, dict):
        return _refused("must be a JSON object", sent)
    request = {name: value for name, value in sent.items() if name != "custom_id"}
    custom_id, errors = sent.get("custom_id"), list[dict[str, str]]()
    if custom_id is not None and not _is_id(custom_id):
        rule = f"must be 1 to {LONGEST_ID} printable ASCII characters"
        custom_id, errors = None, [{"field": "custom_id", "message": rule}]
    try:
        job_input = request_of(request).job_input()
    except ValidationError as error:
        return Draft(sent=sent, custom_id=custom_id, errors=errors + complaints(error))
    return Draft(sent=sent, custom_id=custom_id, job_input=None if errors else job_input, errors=errors)


def read_line(caller: Caller, line: Line, public_url: str = "") -> ReadLine:
    """A line of a file, which is an item as JSON. `public_url`: the API's address, for the links that webhooks get."""
    draft = _draft_of_line(line).permitted(caller)
    job_input = draft.job_input and draft.job_input.reached_at(public_url)
    return ReadLine(draft.custom_id, job_input, draft.rejection)


def _draft_of_line(line: Line) -> Draft:
    if line.text is None:
        return _refused(f"is longer than {LONGEST_LINE:,} bytes")
    try:
        sent = json.loads(line.text.decode(), parse_constant=_no_number)
    except UnicodeDecodeError:
        return _refused("is not UTF-8")
    except (ValueError, RecursionError):
        return _refused("is not JSON")
    return draft_of(sent)


def _refused(message: str, sent: Any = None) -> Draft:
    return Draft(sent=sent, errors=[{"field": "", "message": message}])


def _no_number(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity, which Python would take


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isascii() and value.isprintable()
