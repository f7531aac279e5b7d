"""What a browser is shown: the page at `/`, the documentation at `/docs`, and their files."""

from fastapi import APIRouter, Request, Response

from crewrelay import __version__
from crewrelay.http import assets
from crewrelay.http.document import OF_OPEN_ROUTES, operation_id
from crewrelay.http.links import base_url
from crewrelay.http.problems import plain_problem
from crewrelay.http.wire import Links, Service

_HTML = "text/html"


def front_routes(name: str) -> APIRouter:
    router = APIRouter(generate_unique_id_function=operation_id)

    @router.get(
        "/",
        response_model=Service,
        responses={200: {"content": {_HTML: {"schema": {"type": "string"}}}}, **OF_OPEN_ROUTES},
        tags=["service"],
    )
    def root(request: Request, response: Response) -> Response | Service:
        """The name, the version, and links to the documentation; to a browser, the page."""
        accept = request.headers.get("accept", "")
        if _HTML in accept and "application/json" not in accept:
            answer = assets.page().page(request)
            answer.headers["Vary"] = "Accept"
            return answer
        response.headers["Vary"] = "Accept"
        url = base_url(request)
        links = Links(docs=f"{url}/docs", openapi=f"{url}/openapi.json", health=f"{url}/health")
        return Service(name=name, version=__version__, links=links)

    @router.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        return assets.documentation().page(request)

    @router.get("/assets/{version}/{file}", include_in_schema=False)
    def asset(request: Request, version: str, file: str) -> Response:
        for known in (assets.page, assets.documentation):
            if known().version == version and file in known().files:
                return known().file(request, file)
        return plain_problem(404, "There is no such file, or no longer: load the page again.")

    return router
