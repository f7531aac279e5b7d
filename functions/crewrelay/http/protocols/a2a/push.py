"""The push notification configurations of a task: each is a webhook of its job, told when the task waits or has ended.

Credentials and tokens go out with notifications, and are never told to anybody else.
"""

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool

from crewrelay.http.links import base_url
from crewrelay.http.protocols.a2a.agent import Agent, Params
from crewrelay.http.protocols.a2a.errors import UnknownPushConfig
from crewrelay.http.protocols.a2a.requests import FORM_0_3, FORM_1_0, OneConfig, OneTasksConfigs, PushConfig, parsed
from crewrelay.jobs.access import Scope
from crewrelay.jobs.errors import InvalidRequest
from crewrelay.jobs.records.subscription import State, Subscription

Json = dict[str, Any]


async def create(agent: Agent, params: Params, form: str = FORM_1_0) -> Json:
    """One of the same id gives way."""
    task_id, asked = parsed(OneTasksConfigs, params).task_id, parsed(PushConfig, params)
    webhook = asked.webhook(form, base_url(agent.request))

    def created() -> Json:
        _require_task(agent, task_id, Scope.WEBHOOKS)
        return _config(agent.services.deliveries.add(agent.caller.tenant, task_id, webhook))

    return await run_in_threadpool(created)


async def get(agent: Agent, params: Params) -> Json:
    asked = parsed(OneConfig, params)
    for config in (await listed(agent, {"taskId": asked.task_id}))["configs"]:
        if config["id"] == asked.id:
            return dict(config)
    raise UnknownPushConfig(f"The task has no push notification configuration {asked.id[:100]}.")


async def listed(agent: Agent, params: Params) -> Json:
    task_id = parsed(OneTasksConfigs, params).task_id

    def found() -> list[Json]:
        _require_task(agent, task_id)
        subscriptions = agent.services.deliveries.of(agent.caller.tenant, task_id)
        return [_config(one) for one in subscriptions if _is_config(one)]

    return {"configs": await run_in_threadpool(found), "nextPageToken": ""}


async def delete(agent: Agent, params: Params) -> Json:
    """Nothing happens if there is none of this id."""
    asked = parsed(OneConfig, params)

    def deleted() -> Json:
        _require_task(agent, asked.task_id, Scope.WEBHOOKS)
        agent.services.deliveries.remove(agent.caller.tenant, asked.task_id, asked.name)
        return {}

    return await run_in_threadpool(deleted)


async def create_0_3(agent: Agent, params: Params) -> Json:
    described = params.get("pushNotificationConfig")
    if not isinstance(described, Mapping):
        raise InvalidRequest("pushNotificationConfig: must be an object.")
    return await create(agent, {**described, "taskId": params.get("taskId")}, FORM_0_3)


async def get_0_3(agent: Agent, params: Params) -> Json:
    """Without an id, the one that has that of its task."""
    task_id = params.get("id")
    return await get(agent, {"taskId": task_id, "id": params.get("pushNotificationConfigId") or task_id})


async def listed_0_3(agent: Agent, params: Params) -> Json:
    return await listed(agent, {"taskId": params.get("id")})


async def delete_0_3(agent: Agent, params: Params) -> Json:
    return await delete(agent, {"taskId": params.get("id"), "id": params.get("pushNotificationConfigId")})


def _require_task(agent: Agent, task_id: str, *scopes: Scope) -> None:
    """Raises MissingScope, UnknownJob."""
    for scope in scopes:
        agent.caller.require(scope)
    agent.record(task_id)


def _is_config(subscription: Subscription) -> bool:
    return subscription.webhook.form in (FORM_1_0, FORM_0_3) and subscription.state is not State.REMOVED


def _config(subscription: Subscription) -> Json:
    job_id, webhook = subscription.job_id, subscription.webhook
    config: Json = {"id": webhook.name or job_id, "taskId": job_id, "url": webhook.url}
    if authorization := webhook.headers.get("Authorization"):
        config["authentication"] = {"scheme": authorization.partition(" ")[0]}
    return config
