"""mcp 1, the one that CrewAI needs, shakes hands, calls crews, and submits, reads, answers and cancels jobs."""

import asyncio
import json
import os
from importlib.metadata import version
from typing import Any

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def called(session: ClientSession, tool: str, /, **arguments: Any) -> dict[str, Any]:
    found = (await session.call_tool(tool, arguments)).structuredContent
    assert found is not None
    return found


async def tools(session: ClientSession) -> None:
    assert (await session.initialize()).protocolVersion == "2025-11-25"
    assert {"greet", "research", "crew_result"} < {tool.name for tool in (await session.list_tools()).tools}
    assert (await called(session, "greet", name="you"))["answer"] == "Hello, you!"
    assert (await session.call_tool("slow_compute", {"seconds": "many"})).isError
    say("`ClientSession`, 2025-11-25: tools, results, errors")


async def jobs(session: ClientSession) -> None:
    job_id = (await called(session, "crew_submit", crew="slow_compute", inputs={"seconds": 60}))["job_id"]
    assert (await called(session, "crew_cancel", job_id=job_id))["status"] == "cancelled"
    assert (await called(session, "crew_result", job_id=job_id))["status"] == "cancelled"
    job_id = (await called(session, "crew_submit", crew="confirm_delete", inputs={"filename": "a.txt"}))["job_id"]
    question = (await called(session, "crew_result", job_id=job_id))["question"]
    await called(session, "crew_answer", job_id=job_id, id=question["id"], feedback="Yes.")
    assert (await called(session, "crew_result", job_id=job_id))["answer"] == "Yes."
    say("`crew_submit`, `crew_result`, `crew_answer`, `crew_cancel`")


def say(what: str) -> None:
    print(json.dumps({"client": "mcp", "version": version("mcp"), "what": what}))


async def main() -> None:
    http = httpx.AsyncClient(headers={"Authorization": f"Bearer {os.environ['TOKEN']}"}, timeout=60)
    url = f"{os.environ['URL']}/mcp"
    async with (
        http,
        streamable_http_client(url, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await tools(session)
        await jobs(session)


asyncio.run(main())
