"""The frame of the admin API: paths of the table, answers as JSON, errors in the shape of the main port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match

from gateway.errors import GatewayError, Internal, MethodNotAllowed, UnknownUrl
from gateway.http.admin.reading import Asked, read_asked
from gateway.http.admin.table import route_of
from gateway.http.ids import Ids

Answering = Callable[[Asked], Awaitable[object]]
"""Returns what becomes JSON, or a response."""
Scope = MutableMapping[str, Any]


class Door:
    """Serves paths of the table, and no others."""

    def __init__(self, ids: Ids) -> None:
        self.shell = FastAPI(
            title="Anyport admin", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
        )
        self._ids = ids
        self._add_errors()

    def add(self, method: str, path: str, answering: Answering) -> None:
        """Has a path of the table answered."""
        route = route_of(method, path)

        async def endpoint(request: Request) -> Response:
            answer = await answering(await read_asked(request, route))
            return answer if isinstance(answer, Response) else self.json(request, answer)

        self.shell.add_api_route(path, endpoint, methods=[method])

    def json(self, request: Request, value: object) -> Response:
        """Returns a value as JSON."""
        headers = self._headers(request.scope)
        return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)

    def refusal(self, error: GatewayError, scope: Scope) -> Response:
        """Returns an error in OpenAI's shape."""
        headers = {**dict(error.headers()), **self._headers(scope)}
        return Response(error.body(), status_code=error.status, media_type="application/json", headers=headers)

    def _headers(self, scope: Scope) -> dict[str, str]:
        return {"x-request-id": self._ids.request_id(scope["headers"]), "cache-control": "no-store"}

    def _add_errors(self) -> None:
        async def known(request: Request, error: Exception) -> Response:
            refused = error if isinstance(error, GatewayError) else Internal("the gateway failed; its log has details")
            return self.refusal(refused, request.scope)

        async def http(request: Request, error: Exception) -> Response:
            return self.refusal(self._refused(request, error), request.scope)

        self.shell.add_exception_handler(GatewayError, known)
        self.shell.add_exception_handler(HTTPException, http)
        self.shell.add_exception_handler(Exception, known)

    def _refused(self, request: Request, error: Exception) -> GatewayError:
        path, status = request.scope["path"], error.status_code if isinstance(error, HTTPException) else 500
        if status == 405:
            allow = ", ".join(sorted(self._methods(request.scope)))
            return MethodNotAllowed(f"{path[:200]} takes {allow} only", headers=(("allow", allow),))
        if status == 404:
            return UnknownUrl(f"no such path: {request.scope['method']} {path}"[:200])
        return GatewayError("the request cannot be served", status=status)

    def _methods(self, scope: Scope) -> set[str]:
        """Returns what the path takes that fits first, as the shell has it."""
        routes = [route for route in self.shell.routes if isinstance(route, APIRoute)]
        path = next((route.path for route in routes if route.matches(scope)[0] is not Match.NONE), "")
        return {method for route in routes if route.path == path for method in route.methods or ()}
