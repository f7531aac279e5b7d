"""mcp 2, which speaks the stateless revision, calls crews, answers what they ask, and handles tasks."""
# mypy: ignore-errors
# CrewAI's mcp, which mypy sees, is another one.

import asyncio
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import httpx2
import mcp_types
from mcp.client import Client, ClientExtension, ResultClaim
from mcp.client.extension import ClaimContext
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from pydantic import ConfigDict, Field

url, token = f"{os.environ['URL']}/mcp", os.environ["TOKEN"]


class Task(mcp_types.Result):
    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = Field(alias="resultType")
    task_id: str = Field(alias="taskId")


class Anything(mcp_types.Result):
    model_config = ConfigDict(extra="allow")


class OfATask(mcp_types.Request[dict[str, Any], str]):
    name_param: ClassVar[str | None] = "taskId"


async def of_a_task(session: ClientSession, method: str, task_id: str) -> dict[str, Any]:
    answer = await session.send_request(OfATask(method=method, params={"taskId": task_id}), Anything)
    return answer.model_dump(by_alias=True)


async def finished(session: ClientSession, task_id: str) -> dict[str, Any]:
    while True:
        task = await of_a_task(session, "tasks/get", task_id)
        if task["status"] not in ("working", "input_required"):
            return task
        await asyncio.sleep(task["pollIntervalMs"] / 1000)


async def resolve(task: Task, context: ClaimContext) -> mcp_types.CallToolResult:
    ended = await finished(context.session, task.task_id)
    return mcp_types.CallToolResult.model_validate(ended["result"])


class Tasks(ClientExtension):
    identifier = "io.modelcontextprotocol/tasks"

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Task, resolve=resolve)]


async def human(_: Any, params: mcp_types.ElicitRequestParams) -> mcp_types.ElicitResult:
    return mcp_types.ElicitResult(action="accept", content={"feedback": f"Yes, {params.message}"})


def text(result: mcp_types.CallToolResult) -> str:
    return result.content[0].text


async def tools(client: Client) -> None:
    assert client.protocol_version == "2026-07-28"
    assert {"greet", "research", "crew_result"} < {tool.name for tool in (await client.list_tools()).tools}
    greeting = await client.call_tool("greet", {"name": "you"})
    assert greeting.structured_content["answer"] == text(greeting) == "Hello, you!"
    assert text(await client.call_tool("slow_compute", {"seconds": 1, "label": "a"})) == "Computed a."
    assert (await client.call_tool("test_error_handling", {})).is_error
    assert (await client.call_tool("greet", {"nome": "you"})).is_error
    say("`Client`, 2026-07-28: tools, results, errors")
    confirmed = await client.call_tool("confirm_delete", {"filename": "a.txt"})
    assert text(confirmed) == "Yes, Delete a.txt?"
    say("a question of a crew, answered by a human")


async def tasks(client: Client) -> None:
    assert text(await client.call_tool("slow_compute", {"seconds": 1, "label": "b"})) == "Computed b."
    slow = {"seconds": 60, "label": "c"}
    task = await client.session.call_tool("slow_compute", slow, allow_claimed=True)
    await of_a_task(client.session, "tasks/cancel", task.task_id)
    assert (await finished(client.session, task.task_id))["status"] == "cancelled"
    say("tasks, got and cancelled")


def say(what: str) -> None:
    print(json.dumps({"client": "mcp", "version": version("mcp"), "what": what}))


async def main() -> None:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http), elicitation_callback=human) as client:
            await tools(client)
        async with Client(streamable_http_client(url, http_client=http), extensions=[Tasks()]) as client:
            await tasks(client)


asyncio.run(main())
