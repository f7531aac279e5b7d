"""Weaviate at the level of its wire: REST for the schema, gRPC for the rest. In a process of its own.

    python -m tests.support.doubles.weaviate_server [KEY CERTIFICATE]

With a key and its certificate it speaks TLS.
It ranks as Weaviate does, in memory, and like one makes classes of its own for writes to classes that are missing.
POST /faults {"delay": 0.5, "unavailable": ["Search"], "key": "K", "read_only": true, "version": "1.20.0", "starting":
"could not find class", "auto_schema": false} makes it late with its searches, refuse calls, ask for a key, refuse
changes, seem older, be not ready and say so of every class, and make no classes; what is not named is well again.
GET /calls counts what reached it, by path or gRPC method; GET /grpc is the port of gRPC. Connections are cut, held up
and dropped by tests/support/doubles/line.py. It prints `ready PORT`, and ends when its standard input does.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from crewrelay.local.child import announce, live_and_die_with_parent
from crewrelay.local.serve import listen
from tests.support.doubles.weaviate_classes import Classes, Missing
from tests.support.doubles.weaviate_faults import Faults
from tests.support.doubles.weaviate_grpc import start


def create_app(classes: Classes, faults: Faults, grpc_port: int) -> Starlette:
    async def meta(request: Request) -> Response:
        return JSONResponse({"hostname": "double", "modules": {}, "version": faults.version})

    async def schemas(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"classes": classes.schemas()})
        schema = await request.json()
        if refused := faults.refusal("C", f"schema/collections/{schema['class']}"):
            return _error(refused, 403)
        with classes.lock:
            if not classes.create(schema):
                return _error(f"class name {schema['class']} already exists", 422)
            return JSONResponse(classes[schema["class"]].schema)

    async def schema(request: Request) -> Response:
        name = request.path_params["name"]
        if request.method == "DELETE":
            if refused := faults.refusal("D", f"schema/collections/{name}"):
                return _error(refused, 403)
            with classes.lock:
                classes.delete(name)
            return Response()
        try:
            if faults.starting:
                raise Missing(faults.starting)
            return JSONResponse(classes[name].schema)
        except Missing as error:
            return _error(str(error), 404)

    async def ready(request: Request) -> Response:
        return Response(status_code=503 if faults.starting else 200)

    async def set_faults(request: Request) -> Response:
        faults.set(await request.json())
        return Response()

    async def calls(request: Request) -> Response:
        return JSONResponse(faults.calls)

    async def port(request: Request) -> Response:
        return JSONResponse(grpc_port)

    async def gate(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path.startswith("/v1/"):
            faults.count(f"{request.method} {request.url.path}")
            if not faults.admit(request.headers.get("authorization")):
                return _error("unauthorized: invalid api key", 401)
        return await answer(request)

    return Starlette(
        routes=[
            Route("/v1/meta", meta),
            Route("/v1/.well-known/ready", ready),
            Route("/v1/schema", schemas, methods=["GET", "POST"]),
            Route("/v1/schema/{name}", schema, methods=["GET", "DELETE"]),
            Route("/faults", set_faults, methods=["POST"]),
            Route("/calls", calls),
            Route("/grpc", port),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=gate)],
    )


def _error(message: str, status: int) -> Response:
    return JSONResponse({"error": [{"message": message}]}, status)


def main() -> None:
    live_and_die_with_parent()
    classes, faults = Classes(), Faults()
    certified = (Path(sys.argv[1]), Path(sys.argv[2])) if sys.argv[1:] else None
    grpc_port = start(classes, faults, certified)
    with listen("127.0.0.1", 0) as listener:
        announce(listener.getsockname()[1])
        # Kept open for longer than any client keeps a connection: none is closed while it is being used again.
        app = create_app(classes, faults, grpc_port)
        key, certificate = certified or (None, None)
        config = uvicorn.Config(
            app,
            log_level="warning",
            lifespan="off",
            timeout_keep_alive=75,
            ssl_keyfile=key,
            ssl_certfile=certificate,
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
