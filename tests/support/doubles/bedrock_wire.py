"""Bedrock's Converse, as far as a scripted reply needs it: in and out of the form that OpenAI's API has."""

import json
from typing import Any

ERRORS = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


def request(model: str, body: dict[str, Any]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for message in body["messages"]:
        for block in message["content"]:
            role = "tool" if "toolResult" in block else message["role"]
            messages.append({"role": role, "content": block.get("text", "")})
    tools = [{"function": tool["toolSpec"]} for tool in body.get("toolConfig", {}).get("tools", [])]
    return {"model": model, "messages": messages, "tools": tools}


def response(completion: dict[str, Any]) -> dict[str, Any]:
    (choice,) = completion["choices"]
    said, usage = choice["message"], completion["usage"]
    content: list[dict[str, Any]] = [{"text": said["content"]}] if said["content"] else []
    for call in said.get("tool_calls", []):
        arguments = json.loads(call["function"]["arguments"])
        content.append({"toolUse": {"toolUseId": call["id"], "name": call["function"]["name"], "input": arguments}})
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "tool_use" if "tool_calls" in said else "end_turn",
        "usage": {
            "inputTokens": usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"],
            "cacheReadInputTokens": usage["prompt_tokens_details"]["cached_tokens"],
            "outputTokens": usage["completion_tokens"],
            "totalTokens": usage["total_tokens"],
        },
        "metrics": {"latencyMs": 1},
    }
