"""1.0's JSON in the form of 0.3: `kind` in every object, and states and roles in lower case."""

from typing import Any

_ENDS = ("completed", "failed", "canceled", "rejected", "input-required", "auth-required")

Json = dict[str, Any]


def update(answer: Json) -> Json:
    """The answer to a message, or what a stream tells."""
    if "task" in answer:
        return task(answer["task"])
    if "statusUpdate" in answer:
        said = answer["statusUpdate"]
        status = _status(said["status"])
        return {**said, "kind": "status-update", "status": status, "final": status["state"] in _ENDS}
    said = answer["artifactUpdate"]
    return {**said, "kind": "artifact-update", "artifact": _artifact(said["artifact"])}


def task(task: Json) -> Json:
    found = {**task, "kind": "task", "status": _status(task["status"])}
    if "artifacts" in task:
        found["artifacts"] = [_artifact(each) for each in task["artifacts"]]
    if "history" in task:
        found["history"] = [_message(each) for each in task["history"]]
    return found


def push_config(config: Json) -> Json:
    described = {name: value for name, value in config.items() if name != "taskId"}
    if scheme := described.get("authentication", {}).get("scheme"):
        described["authentication"] = {"schemes": [scheme]}
    return {"taskId": config["taskId"], "pushNotificationConfig": described}


def push_configs(answer: Json) -> list[Json]:
    return [push_config(each) for each in answer["configs"]]


def _status(status: Json) -> Json:
    found = {**status, "state": status["state"].removeprefix("TASK_STATE_").lower().replace("_", "-")}
    if "message" in status:
        found["message"] = _message(status["message"])
    return found


def _message(message: Json) -> Json:
    role = message["role"].removeprefix("ROLE_").lower()
    return {**message, "kind": "message", "role": role, "parts": [_part(each) for each in message["parts"]]}


def _artifact(artifact: Json) -> Json:
    return {**artifact, "parts": [_part(each) for each in artifact["parts"]]}


def _part(part: Json) -> Json:
    if "text" in part:
        return {"kind": "text", "text": part["text"]}
    if "data" in part:
        return {"kind": "data", "data": part["data"]}
    file = {"uri": part["url"], "name": part.get("filename"), "mimeType": part.get("mediaType")}
    return {"kind": "file", "file": file}
