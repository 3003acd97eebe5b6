"""The operator's own door: a listener of its own, with a key of its own, that no client's key opens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, Self, cast

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response
from msgspec import Raw
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from adapters.codec import decode, is_null
from gateway.access.keys import ANONYMOUS, KeyCheck, Peer
from gateway.engine.script import BadScript, Script, read_script
from gateway.errors import (
    CallerError,
    GatewayError,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    RouteNotAllowed,
    Unauthenticated,
    UnknownUrl,
    UnsupportedMedia,
)
from gateway.http.admin_keys import add_key_routes
from gateway.http.explained import MAX_SEED, MINIMAL, prepared, read_explained
from gateway.http.guard import GuardProtocol, guarded
from gateway.http.ids import Ids
from gateway.http.inbound import split
from gateway.http.limits import GuardLimits
from gateway.http.server import BACKLOG, BindError, bind, default_allowed_hosts, url_of
from gateway.http.states import deployment_states, upstream_keys
from gateway.http.usage import add_usage_route
from gateway.reload.reloader import Reload
from gateway.runtime import Runtime
from gateway.settings.model import AdminSettings

END_SECONDS: Final = 2.0
"""How long running requests get at the end; explanations are short."""
EXPLAIN_PATH: Final = "/admin/explain"
KEYS_PATH: Final = "/admin/keys/upstream"
DEPLOYMENTS_PATH: Final = "/admin/deployments"
RELOAD_PATH: Final = "/admin/reload"
_FIELDS: Final = ("model", "body", "fail", "seed")
_ABSENT: Final = Raw()
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class AdminApp:
    """ASGI application: nothing behind it is reached without the key."""

    def __init__(self, current: Callable[[], Runtime], reload: Reload) -> None:
        """`current` returns the runtime that is in use; its key is the one that counts."""
        self._current = current
        self._ids = Ids()
        self._shell = _shell(current, reload, self._ids)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        try:
            self._admit(dict(scope["headers"]), scope.get("client"))
        except GatewayError as error:
            await _response(error, self._ids, scope)(scope, receive, send)
            return
        await self._shell(scope, receive, send)

    def _admit(self, headers: Mapping[bytes, bytes], peer: Peer) -> None:
        presented = {b"authorization": headers.get(b"authorization", b"")}
        runtime = self._current()
        try:
            if runtime.admin_key is None:
                raise Unauthenticated("no key is set")
            KeyCheck([(runtime.admin_key, ANONYMOUS)], guesses=runtime.keys.guesses).check(presented, peer)
        except Unauthenticated:
            clients = runtime.keys
            if not clients.is_open and _passes(clients, headers):
                message = "a client's key does not open the admin API; send `Authorization: Bearer <admin.key>`"
                raise RouteNotAllowed(message) from None
            raise Unauthenticated("the admin API demands `Authorization: Bearer <admin.key>`") from None


def _passes(keys: KeyCheck, headers: Mapping[bytes, bytes]) -> bool:
    try:
        keys.check(headers)
    except GatewayError:
        return False
    return True


def _shell(current: Callable[[], Runtime], reload: Reload, ids: Ids) -> FastAPI:
    shell = FastAPI(title="Anyport admin", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _add_errors(shell, ids)

    @shell.post(EXPLAIN_PATH)
    async def explain(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMedia("the body must be JSON in UTF-8; send `content-type: application/json`")
        try:
            fields = split(await request.body())
        except ClientDisconnect:
            return Response()  # to nobody
        _check_fields(fields)
        body = MINIMAL if is_null(fields.get("body")) else bytes(fields["body"])
        call = read_explained(_text(fields, "model"), body)
        work = prepared(current(), call, _script(_text(fields, "fail", "")), _seed(fields))
        return _json(await asyncio.to_thread(work), ids, request.scope)

    @shell.get(KEYS_PATH)
    async def keys(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return _json({"data": upstream_keys(current(), time.monotonic())}, ids, request.scope)

    add_key_routes(shell, current, lambda request, value: _json(value, ids, request.scope))  # behind KEYS_PATH
    add_usage_route(shell, current, lambda request, value: _json(value, ids, request.scope))

    @shell.get(DEPLOYMENTS_PATH)
    async def deployments(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return _json({"data": deployment_states(current(), time.monotonic())}, ids, request.scope)

    @shell.post(RELOAD_PATH)
    async def read_again(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        reloaded = await reload("POST /admin/reload")
        if not reloaded.ok:
            faults = "\n".join(fault.text for fault in reloaded.faults)
            details = {"faults": msgspec.to_builtins(reloaded.faults)}
            message = f"the configuration was not reloaded:\n{faults}"
            raise CallerError(message, status=422, details=details)
        return _json(reloaded, ids, request.scope)

    return shell


def _check_fields(fields: Mapping[str, Raw]) -> None:
    for name in fields:
        if name not in _FIELDS:
            message = f"unknown field {name[:64]!r}; known are {', '.join(_FIELDS)}"
            raise InvalidRequest(message, code="invalid_value", param=name[:64])


def _text(fields: Mapping[str, Raw], name: str, default: str | None = None) -> str:
    value: Any = decode(fields.get(name, _ABSENT)) if not is_null(fields.get(name)) else default
    if value is None:
        raise InvalidRequest(f"missing required parameter: {name!r}", code="missing_required_parameter", param=name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string", code="invalid_type", param=name)
    return value


def _script(text: str) -> Script:
    try:
        return read_script(text)
    except BadScript as error:
        raise InvalidRequest(f"fail: {error}", code="invalid_value", param="fail") from None


def _seed(fields: Mapping[str, Raw]) -> int | None:
    if is_null(fields.get("seed")):
        return None
    value: Any = decode(fields["seed"])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEED:
        message = f"seed must be a whole number from 0 to {MAX_SEED}"
        raise InvalidRequest(message, code="invalid_value", param="seed")
    return value


def _json(value: object, ids: Ids, scope: Scope) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=_common(ids, scope))


def _response(error: GatewayError, ids: Ids, scope: Scope) -> Response:
    headers = {**dict(error.headers()), **_common(ids, scope)}
    return Response(error.body(), status_code=error.status, media_type="application/json", headers=headers)


def _common(ids: Ids, scope: Scope) -> dict[str, str]:
    return {"x-request-id": ids.request_id(scope["headers"]), "cache-control": "no-store"}


def _add_errors(shell: FastAPI, ids: Ids) -> None:
    async def known(request: Request, error: Exception) -> Response:
        refused = error if isinstance(error, GatewayError) else Internal("the gateway failed; its log has details")
        return _response(refused, ids, request.scope)

    async def http(request: Request, error: Exception) -> Response:
        path, status = request.scope["path"], error.status_code if isinstance(error, HTTPException) else 500
        if status == 405:
            allow = (error.headers or {}).get("Allow", "GET") if isinstance(error, HTTPException) else "GET"
            refused = MethodNotAllowed(f"{path[:200]} takes {allow} only", headers=(("allow", allow),))
        elif status == 404:
            refused = UnknownUrl(f"no such path: {request.scope['method']} {path}"[:200])
        else:
            refused = GatewayError("the request cannot be served", status=status)
        return _response(refused, ids, request.scope)

    shell.add_exception_handler(GatewayError, known)
    shell.add_exception_handler(HTTPException, http)
    shell.add_exception_handler(Exception, known)


class _Server(uvicorn.Server):
    """uvicorn's server without signals, which the main one gets, and with a short end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves the signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts no more, lets running requests end if that is soon, and closes everything."""
        for server in self.servers:
            server.close()
        for one in sockets or ():
            one.close()
        connections = cast("set[GuardProtocol]", self.server_state.connections)
        for connection in list(connections):
            connection.shutdown()
        if tasks := list(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=END_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=END_SECONDS)
        for connection in list(connections):
            connection.abort()


def bind_admin(admin: AdminSettings) -> list[socket.socket]:
    """Returns bound sockets, none if no port is set; raises BindError, which names the settings."""
    if admin.port is None:
        return []
    try:
        return bind(admin.host, admin.port)
    except BindError as error:
        raise BindError(f"{error} (admin.host, admin.port)") from None


class AdminListener:
    """The listening side; to be entered in the event loop of the main server, and left when that has drained."""

    def __init__(self, current: Callable[[], Runtime], reload: Reload, sockets: list[socket.socket]) -> None:
        """`sockets` are those of `bind_admin`; `current` returns the runtime that is in use."""
        self._sockets = sockets
        settings = current().settings
        hosts = default_allowed_hosts(settings.admin.host)
        limits = GuardLimits(max_body_bytes=settings.server.max_body_bytes, allowed_hosts=hosts)
        config = uvicorn.Config(
            AdminApp(current, reload),
            http=cast(Any, guarded(limits)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.keep_alive_seconds),
            backlog=BACKLOG,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens: `http://host:port`."""
        return url_of(self._sockets[0])

    async def __aenter__(self) -> Self:
        """Begins to serve."""
        self._serving = asyncio.create_task(self._server.serve(sockets=self._sockets), name="admin")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends running requests, if they do not end soon by themselves, and every connection."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait([self._serving])
