"""The FastAPI shell: health, metrics, documentation, and OpenAI-shaped answers to everything unknown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

import gateway
from gateway.access.keys import Peer
from gateway.errors import GatewayError, Internal, InvalidRequest, MethodNotAllowed, UnknownUrl
from gateway.http.drain import DrainSignal
from gateway.http.ids import Ids
from gateway.http.openapi import describe
from gateway.http.page import docs_page
from gateway.telemetry.exposition import content_type

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]
Exposition = Callable[[str], Awaitable[bytes]]
"""Returns metrics in the format that an `Accept` header prefers."""
Check = Callable[[Mapping[bytes, bytes], Peer], object]


_PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}
"""The page needs nothing but its own style."""


def build_shell(
    *, exposition: Exposition, drain: DrainSignal, check: Check, ids: Ids, lifespan: Lifespan, serves_metrics: bool
) -> FastAPI:
    """Returns the application behind the inference paths; `check` raises for a request without a client's key."""
    shell = FastAPI(
        title="Anyport",
        version=gateway.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    _add_errors(shell, ids)
    _add_health(shell, drain)
    if serves_metrics:
        _add_metrics(shell, exposition, check)
    _add_docs(shell, check)
    return shell


def _add_health(shell: FastAPI, drain: DrainSignal) -> None:
    @shell.get("/health/live", summary="The process runs", tags=["health"])
    async def live() -> Response:  # pyright: ignore[reportUnusedFunction]
        return JSONResponse({"status": "ok"})  # for anything that it has to turn into one, FastAPI loads pydantic.v1

    @shell.get("/health/ready", summary="The gateway takes new requests", tags=["health"])
    async def ready() -> Response:  # pyright: ignore[reportUnusedFunction]
        if drain.is_draining:
            return JSONResponse({"status": "draining"}, status_code=503, headers={"retry-after": "1"})
        return JSONResponse({"status": "ok"})


def _add_metrics(shell: FastAPI, exposition: Exposition, check: Check) -> None:
    @shell.get("/metrics", summary="Prometheus metrics", tags=["operations"])
    async def render(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        check(dict(request.scope["headers"]), request.scope.get("client"))
        accept = request.headers.get("accept", "")
        return Response(await exposition(accept), media_type=content_type(accept))


def _add_docs(shell: FastAPI, check: Check) -> None:
    @shell.get("/openapi.json", include_in_schema=False)
    async def schema(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        check(dict(request.scope["headers"]), request.scope.get("client"))
        return JSONResponse(describe(shell))

    @shell.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        check(dict(request.scope["headers"]), request.scope.get("client"))
        page = docs_page(describe(shell), str(request.headers.get("host", "127.0.0.1:8484")))
        return HTMLResponse(page, headers=_PAGE_HEADERS)


def _add_errors(shell: FastAPI, ids: Ids) -> None:
    """Every error of the framework in OpenAI's shape: SDKs read nothing from `{"detail": ...}`."""

    def respond(request: Request, error: GatewayError) -> Response:
        headers = {**dict(error.headers()), "x-request-id": ids.request_id(request.scope["headers"])}
        return Response(error.body(), status_code=error.status, media_type="application/json", headers=headers)

    async def known(request: Request, error: Exception) -> Response:
        return respond(request, error if isinstance(error, GatewayError) else Internal("the gateway failed"))

    async def http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        path = request.scope["path"]
        if status == 405:
            allow = (error.headers or {}).get("Allow", "GET") if isinstance(error, HTTPException) else "GET"
            return respond(request, MethodNotAllowed(f"{path} takes {allow} only", headers=(("allow", allow),)))
        if status == 404:
            missing = f"no such path: {request.scope['method']} {path}"[:200]
            return respond(request, UnknownUrl(f"{missing}; the base URL of clients ends in /v1, and /docs lists all"))
        return respond(request, GatewayError("the request cannot be served", status=status))

    async def invalid(request: Request, error: Exception) -> Response:
        return respond(request, InvalidRequest("a parameter of the request is wrong", code="invalid_value"))

    shell.add_exception_handler(GatewayError, known)
    shell.add_exception_handler(HTTPException, http)
    shell.add_exception_handler(RequestValidationError, invalid)
    shell.add_exception_handler(Exception, known)
