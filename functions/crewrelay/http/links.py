"""Links to this API as its caller reaches it: with the host, and with the stage or base path."""

from collections.abc import Callable

from starlette.requests import Request


def base_url(request: Request) -> str:
    """The API's address, without a slash at its end. Behind API Gateway the host is the one that the gateway names."""
    context = request.scope.get("aws.event", {}).get("requestContext", {})
    host = context.get("domainName") or request.url.netloc
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = next(one for one in (forwarded, request.url.scheme, "https") if one in ("http", "https"))
    return f"{scheme}://{host}{root_path(request)}"


def status_path(request: Request, job_id: str) -> str:
    """For `Location`."""
    return f"{root_path(request)}/crewai/status/{job_id}"


def status_url(request: Request, job_id: str) -> str:
    """For clients that can't resolve a relative `Location`."""
    return f"{base_url(request)}/crewai/status/{job_id}"


def file_urls(request: Request, job_id: str) -> Callable[[int], str]:
    """The URL of a job's file by its number."""
    return lambda number: f"{base_url(request)}/crewai/jobs/{job_id}/files/{number}"


def root_path(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root
