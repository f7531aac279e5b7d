"""What the scripted model says, and how its words go over the wire: whole, in pieces, slowly, or not to their end."""

import asyncio
import json
import random
import re
import string
from collections.abc import AsyncIterator
from typing import Any

# What CrewAI's memory has a model find out, by a property of its shape.
OF_MEMORY: dict[str, dict[str, Any]] = {
    "memories": {"memories": ["Ulm is rainy."]},
    "suggested_scope": {"suggested_scope": "/weather", "categories": ["towns"], "importance": 0.5}
    | {"extracted_metadata": {"entities": ["Ulm"], "dates": [], "topics": []}},
    "recall_queries": {"keywords": [], "suggested_scopes": [], "complexity": "complex", "time_filter": None}
    | {"recall_queries": ["rainy towns"]},  # of two, CrewAI takes the score of that which is found first
    "insert_new": {"actions": [], "insert_new": True, "insert_reason": ""},
}
_LETTERS = (string.ascii_letters.encode() * 5)[:256]


def topic_of(body: dict[str, Any]) -> str:
    found = re.search(r"Topic: (.*)", "\n".join(str(message.get("content")) for message in body["messages"]))
    return found[1].strip() if found else "nothing"


def reply(body: dict[str, Any], searches: int, size: int, wide: bool) -> dict[str, Any]:
    """The next message: what CrewAI's memory asks for; a tool call if tools are offered and not yet called as often;
    else a text on the topic.
    """
    topic = topic_of(body)
    if (found := of_memory(json.dumps(body.get("response_format")))) is not None:
        return {"role": "assistant", "content": json.dumps(found)}
    made = sum(message["role"] == "tool" for message in body["messages"])
    if body.get("tools") and made < searches:
        query = f"{topic} {made}" if made else topic
        name = body["tools"][0]["function"]["name"]
        arguments = json.dumps({"queries": [query]} if name == "search_memory" else {"query": query})
        call = {"id": f"call_{made + 1}", "type": "function", "function": {"name": name, "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    text = f"About {topic}: one fact [1], another [2], an invented one [99]."
    return {"role": "assistant", "content": text + noise(topic, size - len(text), wide)}


def of_memory(schema: str) -> dict[str, Any] | None:
    """An analysis for CrewAI's memory, if this is the schema of one."""
    return next((value for name, value in OF_MEMORY.items() if re.search(rf'"{name}\\*":', schema)), None)


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """How often each letter occurs in each text."""
    vectors = [[text.lower().count(letter) / 10 for letter in string.ascii_lowercase] for text in body["input"]]
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return {"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


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
