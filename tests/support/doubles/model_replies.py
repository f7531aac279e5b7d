"""What the scripted model says, and how its words go over the wire: whole, in pieces, slowly, or not to their end."""

import asyncio
import json
import random
import re
import string
from collections.abc import AsyncIterator
from typing import Any

_LETTERS = (string.ascii_letters.encode() * 5)[:256]


def topic_of(body: dict[str, Any]) -> str:
    found = re.search(r"Topic: (.*)", "\n".join(str(message.get("content")) for message in body["messages"]))
    return found[1].strip() if found else "nothing"


def reply(body: dict[str, Any], searches: int, size: int, wide: bool) -> dict[str, Any]:
    """The next message: a tool call if tools are offered and not yet called as often, else a text on the topic."""
    topic = topic_of(body)
    made = sum(message["role"] == "tool" for message in body["messages"])
    if body.get("tools") and made < searches:
        arguments = json.dumps({"query": f"{topic} {made}" if made else topic})
        name = body["tools"][0]["function"]["name"]
        call = {"id": f"call_{made + 1}", "type": "function", "function": {"name": name, "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    text = f"About {topic}: one fact [1], another [2], an invented one [99]."
    return {"role": "assistant", "content": text + noise(topic, size - len(text), wide)}


def noise(seed: str, size: int, wide: bool) -> str:
    """Letters of a byte each in UTF-8, or of three."""
    letters = random.Random(seed).randbytes(max(0, size)).translate(_LETTERS).decode()
    return letters.translate({code: 0x4E00 + code for code in range(128)}) if wide else letters


def usage(numbers: str) -> dict[str, Any] | None:
    """Of "prompt,completion,cached"; none of ""."""
    if not numbers:
        return None
    prompt, completion, cached = map(int, numbers.split(","))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def completion(body: dict[str, Any], message: dict[str, Any], numbers: str) -> dict[str, Any]:
    finish = "tool_calls" if "tool_calls" in message else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage(numbers),
    }


async def in_pieces(content: dict[str, Any], *, cut: bool) -> AsyncIterator[str]:
    """As OpenAI streams: the message bit by bit, why it ended, what it cost."""
    (choice,) = content["choices"]
    message = choice["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if message["content"] else None}]
    for call in message.get("tool_calls", []):
        arguments = call["function"]["arguments"]
        deltas.append({"tool_calls": [{**call, "index": 0, "function": {**call["function"], "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": bit}}]} for bit in arguments]
    deltas += [{"content": bit} for bit in message["content"] or ""]
    head = {**content, "object": "chat.completion.chunk", "usage": None}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if cut:
        chunks = chunks[: len(chunks) // 2]
    else:
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
        chunks.append({**head, "choices": [], "usage": content["usage"]})
    for chunk in chunks:
        yield f"data: {json.dumps(chunk)}\n\n"
    if cut:
        raise ConnectionAbortedError
    yield "data: [DONE]\n\n"


async def cut(body: bytes) -> AsyncIterator[bytes]:
    yield body
    raise ConnectionAbortedError


async def trickled(body: bytes, pause: float) -> AsyncIterator[bytes]:
    for byte in body:
        yield bytes([byte])
        await asyncio.sleep(pause)
