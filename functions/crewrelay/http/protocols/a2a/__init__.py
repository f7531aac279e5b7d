"""A2A (https://a2a-protocol.org), 1.0 and 0.3: each crew is an agent, each of its jobs a task.

A context is the correlation id that its jobs share, so it costs no row. Through Lambda a stream is a window: all that
happened until the gateway's limit. Clients go on with SubscribeToTask or GetTask.
"""

from fastapi import APIRouter

from crewrelay.http.protocols.a2a.card import card_routes
from crewrelay.http.protocols.a2a.errors import refusal as refusal
from crewrelay.http.protocols.a2a.json_rpc import json_rpc_routes
from crewrelay.http.protocols.a2a.rest import rest_routes
from crewrelay.http.services import Services


def routes(services: Services) -> APIRouter:
    router = APIRouter()
    router.include_router(card_routes())
    router.include_router(json_rpc_routes(services))
    router.include_router(rest_routes(services))
    return router
