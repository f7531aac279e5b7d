"""A plugin of pytest for A2A's compatibility kit, in the kit's own environment.

The kit tells its agent what to do by the prefix of a message's id, which no crew sees: here it is an input, too. And it
sends different messages under one id, which the protocol calls unique, and we take for one message sent again: here
each has its own.
"""

import itertools
from collections.abc import Callable
from typing import Any

from tck.transport.http_json_client import HttpJsonClient
from tck.transport.jsonrpc_client import JsonRpcClient

_numbers = itertools.count(1)


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    if "messageId" not in message:
        return message
    scenario, parts = message["messageId"], message.get("parts", [])
    if "taskId" not in message:
        parts = [*parts, {"data": {"scenario": scenario}}]
    return {**message, "messageId": f"{scenario}-{next(_numbers)}", "parts": parts}


def _marking(sent: Callable[..., Any]) -> Callable[..., Any]:
    return lambda client, message, **more: sent(client, _marked(message), **more)


for kind in (HttpJsonClient, JsonRpcClient):
    kind.send_message = _marking(kind.send_message)
    kind.send_streaming_message = _marking(kind.send_streaming_message)
