"""URL TOKEN: mcp 1, the one that CrewAI needs, shakes hands, calls crews, and submits, reads and cancels jobs."""

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any

from mcp import ClientSession
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.types import CallToolResult

url, token = sys.argv[1], sys.argv[2]


def status(result: CallToolResult) -> str:
    assert result.structuredContent
    return str(result.structuredContent["status"])


async def main() -> dict[str, Any]:
    found: dict[str, Any] = {"version": version("mcp")}
    http = create_mcp_http_client({"Authorization": f"Bearer {token}"})
    async with (
        http,
        streamable_http_client(url, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        found["revision"] = (await session.initialize()).protocolVersion
        found["tools"] = [tool.name for tool in (await session.list_tools()).tools]
        found["greeting"] = (await session.call_tool("greet", {"name": "you"})).structuredContent
        found["wrong"] = (await session.call_tool("slow_compute", {"seconds": "many"})).isError
        slow = {"crew": "slow_compute", "inputs": {"seconds": 60}}
        submitted = (await session.call_tool("crew_submit", slow)).structuredContent
        assert submitted
        job = {"job_id": submitted["job_id"]}
        found["cancelled"] = status(await session.call_tool("crew_cancel", job))
        found["read"] = status(await session.call_tool("crew_result", job))
        asking = {"crew": "confirm_delete", "inputs": {"filename": "a.txt"}}
        submitted = (await session.call_tool("crew_submit", asking)).structuredContent
        assert submitted
        job = {"job_id": submitted["job_id"]}
        waiting = (await session.call_tool("crew_result", job)).structuredContent
        assert waiting
        reply = {**job, "id": waiting["question"]["id"], "feedback": "Yes."}
        found["answered"] = status(await session.call_tool("crew_answer", reply))
        found["answer"] = ((await session.call_tool("crew_result", job)).structuredContent or {})["answer"]
    return found


print(json.dumps(asyncio.run(main())))
