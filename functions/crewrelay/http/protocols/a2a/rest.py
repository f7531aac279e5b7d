"""A2A's HTTP+JSON binding, of 1.0."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse

from crewrelay.http.callers import AnyCaller
from crewrelay.http.problems import content_of
from crewrelay.http.protocols.a2a import push
from crewrelay.http.protocols.a2a.agent import Agent
from crewrelay.http.protocols.a2a.bodies import json_object, require_version
from crewrelay.http.protocols.a2a.errors import refusal
from crewrelay.http.protocols.a2a.sse import STREAM_HEADERS, events
from crewrelay.http.services import Services

_MEDIA_TYPE = "application/a2a+json"
Method = Callable[[Agent, dict[str, Any]], Awaitable[dict[str, Any]]]
Streaming = Callable[[Agent, dict[str, Any]], Awaitable[AsyncIterator[dict[str, Any]]]]


def rest_routes(services: Services) -> APIRouter:
    router = APIRouter(prefix="/a2a/{crew}")

    def agent_of(crew: str, caller: AnyCaller, request: Request) -> Agent:
        require_version(request, "1.0")
        return Agent.of(services, crew, caller, request)

    OfCrew = Annotated[Agent, Depends(agent_of)]  # noqa: N806

    @router.post("/message:send")
    async def send(agent: OfCrew) -> Response:
        return _answer(await agent.send(await json_object(agent.request)))

    @router.post("/message:stream")
    async def stream(agent: OfCrew) -> Response:
        return _stream(await agent.stream(await json_object(agent.request)))

    @router.get("/tasks")
    async def list_(agent: OfCrew) -> Response:
        return _answer(await agent.find(dict(agent.request.query_params)))

    @router.api_route("/tasks/{task_id}:subscribe", methods=["GET", "POST"])
    async def subscribe(agent: OfCrew, task_id: str) -> Response:
        return _stream(await agent.subscribe({"id": task_id}))

    @router.post("/tasks/{task_id}:cancel")
    async def cancel(agent: OfCrew, task_id: str) -> Response:
        return _answer(await agent.cancel({"id": task_id}))

    @router.get("/tasks/{task_id}")
    async def get(agent: OfCrew, task_id: str) -> Response:
        return _answer(await agent.get({**agent.request.query_params, "id": task_id}))

    @router.post("/tasks/{task_id}/pushNotificationConfigs")
    async def create_push_config(agent: OfCrew, task_id: str) -> Response:
        return _answer(await push.create(agent, {**await json_object(agent.request), "taskId": task_id}))

    @router.get("/tasks/{task_id}/pushNotificationConfigs")
    async def push_configs(agent: OfCrew, task_id: str) -> Response:
        return _answer(await push.listed(agent, {"taskId": task_id}))

    @router.get("/tasks/{task_id}/pushNotificationConfigs/{config_id}")
    async def push_config(agent: OfCrew, task_id: str, config_id: str) -> Response:
        return _answer(await push.get(agent, {"taskId": task_id, "id": config_id}))

    @router.delete("/tasks/{task_id}/pushNotificationConfigs/{config_id}")
    async def delete_push_config(agent: OfCrew, task_id: str, config_id: str) -> Response:
        return _answer(await push.delete(agent, {"taskId": task_id, "id": config_id}))

    @router.get("/extendedAgentCard")
    async def extended_card(agent: OfCrew) -> Response:
        return _answer(await agent.extended_card({}))

    return router


def _answer(content: dict[str, Any]) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), media_type=_MEDIA_TYPE)


def _stream(updates: AsyncIterator[dict[str, Any]]) -> Response:
    sent = events(updates, lambda update: update, lambda error: refusal(content_of(error)))
    return StreamingResponse(sent, media_type="text/event-stream", headers=STREAM_HEADERS)
