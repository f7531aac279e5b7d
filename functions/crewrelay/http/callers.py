"""Who calls: what the gateway's authorizer found out about the request's token. A client can't say it itself."""

from typing import Annotated, Any

from fastapi import FastAPI, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import ValidationError

from crewrelay.jobs.access import Caller, Scope
from crewrelay.jobs.errors import Unauthenticated

# Read by nobody here, for the authorizer has read it: it stands for the header in the documentation.
_TOKEN = HTTPBearer(auto_error=False, scheme_name="token", description="`crewrelay token create` makes them.")


def set_anonymous(app: FastAPI, anonymous: Caller | None) -> None:
    """`anonymous` is who everybody is where there is no authorizer; None, where there is one: without it, nobody."""
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
        return Caller(tenant=context["tenant"], scopes=frozenset(context["scopes"].split()))
    except (KeyError, ValidationError):  # the function is reached past its gateway, or behind another authorizer
        raise Unauthenticated("The request came without a valid token.") from None


Starter = Annotated[Caller, Security(_caller, scopes=[Scope.RUN.value])]
Reader = Annotated[Caller, Security(_caller, scopes=[Scope.READ.value])]
Admin = Annotated[Caller, Security(_caller, scopes=[Scope.ADMIN.value])]
