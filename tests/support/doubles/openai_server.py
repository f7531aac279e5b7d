"""An OpenAI-compatible server in this process, which counts every request that reaches it, whoever makes it."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.doubles.model_replies import OF_MEMORY, completion, embeddings, in_pieces

_CITY = {"name": "Ulm"}
_CITY_CALL = ("weather", {"city": "Ulm"})
_DELEGATION = ("delegate_work_to_coworker", {"task": "Look up.", "context": "Monday.", "coworker": "Forecaster"})
# By a property of what is asked for.
_SHAPES: dict[str, Any] = {
    **OF_MEMORY,
    "memories": {"memories": ["Ulm is rainy.", "Ann likes snow, and owns umbrellas."]},
    "list_of_plans_per_task": {"list_of_plans_per_task": [{"task_number": 1, "task": "Tell.", "plan": "Look up."}]},
    "feedback": {"valid": True, "feedback": None},
    "outcome": {"outcome": "rejected"},
    "plan": {"plan": "Look up.", "steps": [], "ready": True},
    "name": _CITY,
}


def said(body: dict[str, Any], calling: Sequence[tuple[str, Any]] = ()) -> dict[str, Any]:
    """Calls these tools, one after the other, else the one that it is offered, once; answers in the shape that is asked
    for; else says how much it read.
    """
    messages = body["messages"]
    text = "\n".join(str(message.get("content")) for message in messages)
    if isinstance(body.get("tool_choice"), dict):  # an answer in a shape, by a library that has it called as a tool
        return _called(body["tool_choice"]["function"]["name"], _shaped(json.dumps(body["tools"])))
    offered = {tool["function"]["name"] for tool in body.get("tools", [])}
    made = sum(message["role"] == "tool" for message in messages)
    if offered and made < len(calling):
        return _called(*calling[made])
    if not made:
        for name, arguments in (_DELEGATION, _CITY_CALL):
            if found := next(
                (one for one in offered if one.endswith(name)), None
            ):  # one of MCP has its server before it
                return _called(found, arguments)
    if "Action Input:" in text and not any(message["role"] == "assistant" for message in messages):
        name, arguments = _DELEGATION if _DELEGATION[0] in text else _CITY_CALL
        return _text(f"Thought: I look.\nAction: {name}\nAction Input: {json.dumps(arguments)}")
    shape = json.dumps(body.get("response_format")) if "response_format" in body else text
    if (shaped := _shaped(shape)) is not None:
        return _text(json.dumps(shaped))
    return _text(f"Final Answer: after {len(text)} characters")


def _shaped(schema: str) -> Any:
    """What fits the schema that stands in the text; None if none is known."""
    return next((value for name, value in _SHAPES.items() if re.search(rf'"{name}\\*":', schema)), None)


def _called(name: str, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    called = {"id": "call_1", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [called]}


def _text(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


async def _streamed(answer: dict[str, Any]) -> str:
    return "".join([piece async for piece in in_pieces(answer, cut=False)])


class OpenAIServer(ThreadingHTTPServer):
    """`failing` is the status of every answer, `not_embedding` that of embeddings; agents call the tools `calling`."""

    daemon_threads = True
    failing: int | None = None
    not_embedding: int | None = None
    calling: Sequence[tuple[str, Any]] = ()

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.embedded: list[list[str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OpenAIServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        embeds = self.path.endswith("/embeddings")
        status = (self.server.not_embedding if embeds else self.server.failing) or 200
        if embeds:
            self.server.embedded.append(body["input"])
        else:
            self.server.asked.append(body)
        if status != 200:
            answer: dict[str, Any] = {"error": {"message": "scripted"}}
        else:
            answer = embeddings(body) if embeds else completion(body, said(body, self.server.calling), "7,3,0")
        streamed = status == 200 and body.get("stream")
        content = (asyncio.run(_streamed(answer)) if streamed else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def openai_server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
