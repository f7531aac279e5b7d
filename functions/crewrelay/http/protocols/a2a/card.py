"""GET /a2a/{crew}/.well-known/agent-card.json: the crew as an agent, for clients of both versions. Open to all."""

import hashlib
import json
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from crewrelay import __version__
from crewrelay.catalogue.catalogue import catalogue
from crewrelay.catalogue.definition import Card
from crewrelay.http.links import base_url
from crewrelay.jobs.errors import InvalidCrew

_SECONDS = 300  # that a client may keep the card
_MODES = ["text/plain", "application/json"]
# 1.0 names the kind of a scheme by a key, 0.3 by `type`; each ignores the other's.
_BEARER = {"httpAuthSecurityScheme": {"scheme": "Bearer"}, "type": "http", "scheme": "bearer"}
_SECURITY = {
    "securitySchemes": {"bearer": _BEARER},
    "securityRequirements": [{"schemes": {"bearer": {"list": []}}}],
    "security": [{"bearer": []}],
}


def card_routes() -> APIRouter:
    router = APIRouter()

    @router.get("/a2a/{crew}/.well-known/agent-card.json")
    def agent_card(crew: str, request: Request) -> Response:
        """The agent card. It changes with a deployment only."""
        require_crew(crew)
        try:
            card = catalogue().card(crew)
        except InvalidCrew:  # what is wrong with its files is not for everybody
            raise HTTPException(404) from None
        with_tokens = request.app.state.anonymous is None
        body = json.dumps(_card(card, f"{base_url(request)}/a2a/{crew}", with_tokens=with_tokens))
        tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": f"public, max-age={_SECONDS}"}
        known = request.headers.get("if-none-match", "").split(",")
        if any(each.strip().removeprefix("W/") in (tag, "*") for each in known):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    return router


def require_crew(crew: str) -> None:
    """Answers 404 if there is no such crew."""
    if crew not in catalogue().names():
        raise HTTPException(404)


def _card(card: Card, url: str, *, with_tokens: bool) -> dict[str, Any]:
    interfaces = [("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3")]
    said: dict[str, Any] = {
        "name": card.name,
        "description": card.crew.description,
        "version": __version__,
        "supportedInterfaces": [
            {"url": url, "protocolBinding": binding, "protocolVersion": version} for binding, version in interfaces
        ],
        "capabilities": {"streaming": True, "pushNotifications": True, "extendedAgentCard": False},
        "defaultInputModes": _MODES,
        "defaultOutputModes": _MODES,
        "skills": [_skill(card)],
        # What 0.3 has in place of the interfaces.
        "protocolVersion": "0.3.0",
        "url": url,
        "preferredTransport": "JSONRPC",
    }
    return said | (_SECURITY if with_tokens else {})


def _skill(card: Card) -> dict[str, Any]:
    """The inputs are described in words: a card has no place for a schema."""
    inputs = "; ".join(
        f"{name} ({described.get('description') or described.get('type', 'any')})"
        for name, described in card.inputs.json_schema()["properties"].items()
    )
    return {
        "id": card.name,
        "name": card.name,
        "description": f"{card.crew.description} Inputs: {inputs or 'none'}.",
        "tags": [card.kind],
        "examples": [json.dumps(card.inputs.sample(), ensure_ascii=False)],
    }
