"""OpenAI's Responses and chat completions at /v1: a model is a crew, a response is a job."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from crewrelay.catalogue.catalogue import catalogue
from crewrelay.http.callers import Reader
from crewrelay.http.protocols.openai.chat import chat_routes
from crewrelay.http.protocols.openai.errors import refusal
from crewrelay.http.protocols.openai.request import crew_of
from crewrelay.http.protocols.openai.responses import response_routes
from crewrelay.http.services import Services

__all__ = ["refusal", "routes"]


def routes(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/models")
    def models(_: Reader) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [_model(name) for name in catalogue().names()]})

    @router.get("/models/{name:path}")
    def model(_: Reader, name: str) -> JSONResponse:
        return JSONResponse(_model(crew_of(name)))

    router.include_router(response_routes(services))
    router.include_router(chat_routes(services))
    return router


def _model(crew: str) -> Mapping[str, Any]:
    return {"id": crew, "object": "model", "created": 0, "owned_by": "crewrelay"}
