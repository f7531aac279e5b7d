"""A model's reply as the journal holds it: text, native tool calls of any provider's library, a structured answer."""

import hashlib
import json
from typing import Any

from crewai.utilities.agent_utils import extract_tool_call_info, is_tool_call_list
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

LONGEST = 1_000_000  # characters: several times the output limit of any model, so a longer text is broken
_CUT = "\n[The rest is left out: it is too long.]"


class MisshapenReply(Exception):
    """A model's answer that does not fit the response model. It is journaled, for it was paid."""


def encoded(reply: Any, request: dict[str, Any]) -> str:
    """The reply as JSON; a text that is too long is cut."""
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
    """In the form that CrewAI accepts for every provider. If a server gives no id, CrewAI makes one from the call's
    address in memory, which differs in the next run, and so do the prompts: ours is a hash of the request.
    """
    call_id, name, arguments = extract_tool_call_info(call) or ("", "", {})
    if not call_id or call_id == f"call_{id(call)}":
        canonical = json.dumps(request, sort_keys=True)
        call_id = f"call_{hashlib.sha256(canonical.encode()).hexdigest()[:16]}_{index}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
