"""A model's reply as the journal holds it: text, native tool calls of any provider's library, a structured answer."""

import hashlib
import json
from typing import Any

from crewai.utilities.agent_utils import extract_tool_call_info, is_tool_call_list
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

LONGEST = 1_000_000  # characters of a text, some times what any model writes at once: longer ones are broken
_CUT = "\n[The rest is left out: it is too long.]"


class MisshapenReply(Exception):
    """A model's answer that is not in the shape that was asked for. It is journaled like any: it was paid for."""


def encoded(reply: Any, request: dict[str, Any]) -> str:
    """Cut before anybody reads it, if it is a text without an end."""
    if isinstance(reply, str) and len(reply) > LONGEST:
        reply = reply[:LONGEST] + _CUT
    if isinstance(reply, list) and is_tool_call_list(reply):
        reply = [_tool_call(call, index, request) for index, call in enumerate(reply)]
    return json.dumps({"said": to_jsonable_python(reply, fallback=str)})


def encoded_misshapen(error: ValidationError) -> str:
    return json.dumps({"misshapen": str(error)})


def decoded(body: str, response_model: type[BaseModel] | None) -> Any:
    """Raises MisshapenReply."""
    reply = json.loads(body)
    if "misshapen" in reply:
        raise MisshapenReply(f"The model's answer is not in the shape that the task asks for: {reply['misshapen']}")
    said = reply["said"]
    return response_model.model_validate(said) if response_model and isinstance(said, dict) else said


def _tool_call(call: Any, index: int, request: dict[str, Any]) -> dict[str, Any]:
    """In the form that CrewAI takes from any provider. Some servers give a call no id, and CrewAI then makes one of its
    address in memory, so that no prompt after it would be the same in the next run: ours comes from the request.
    """
    call_id, name, arguments = extract_tool_call_info(call) or ("", "", {})
    if not call_id or call_id == f"call_{id(call)}":
        asked = json.dumps(request, sort_keys=True)
        call_id = f"call_{hashlib.sha256(asked.encode()).hexdigest()[:16]}_{index}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
