"""The caller of a request, as the gateway's authorizer passes it on. A client can't set it."""

from typing import Annotated, Any

from fastapi import FastAPI, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import ValidationError

from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.errors import Unauthenticated

# For the documentation only: the authorizer has checked the token already.
_TOKEN = HTTPBearer(auto_error=False, scheme_name="token", description="Created with `crewrelay token create`.")


def set_anonymous(app: FastAPI, anonymous: Caller | None) -> None:
    """`anonymous` is everybody where no tokens are asked for. None: callers come from the authorizer."""
    app.state.anonymous = anonymous


async def _caller(request: Request, needed: SecurityScopes, _: Annotated[Any, Security(_TOKEN)]) -> Caller:
    """Raises Unauthenticated, MissingScope."""
    caller: Caller = request.app.state.anonymous or _authorized(request)
    for scope in needed.scopes:
        caller.require(Scope(scope))
    return caller


def _authorized(request: Request) -> Caller:
    context = request.scope.get("aws.event", {}).get("requestContext", {}).get("authorizer") or {}
    try:
        collections = tuple(context.get("collections", "").split())
        return Caller(tenant=context["tenant"], scopes=frozenset(context["scopes"].split()), collections=collections)
    except (KeyError, ValidationError):  # called without our gateway, or behind another authorizer
        raise Unauthenticated("The request came without a valid token.") from None


AnyCaller = Annotated[Caller, Security(_caller)]  # whose scopes are checked later
Starter = Annotated[Caller, Security(_caller, scopes=[Scope.RUN.value])]
Reader = Annotated[Caller, Security(_caller, scopes=[Scope.READ.value])]
Admin = Annotated[Caller, Security(_caller, scopes=[Scope.ADMIN.value])]
Webhooker = Annotated[Caller, Security(_caller, scopes=[Scope.WEBHOOKS.value])]
