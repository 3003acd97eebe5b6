"""The operator's own door: a listener of its own, with a key of its own, that no client's key opens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, Self, cast

import uvicorn

from gateway.access.keys import ANONYMOUS, KeyCheck, Peer
from gateway.errors import GatewayError, RouteNotAllowed, Unauthenticated
from gateway.http.admin.door import Door
from gateway.http.admin.events import add_event_path
from gateway.http.admin.keys import add_key_paths
from gateway.http.admin.live import add_live_paths
from gateway.http.admin.openapi import add_description
from gateway.http.admin.pardons import Pardons
from gateway.http.admin.requests import add_request_paths
from gateway.http.guard.limits import GuardLimits
from gateway.http.guard.protocol import GuardProtocol, guarded
from gateway.http.ids import Ids
from gateway.http.server import BACKLOG, BindError, bind, default_allowed_hosts, url_of
from gateway.http.usage.questions import add_usage_route
from gateway.reload.reloader import Reload
from gateway.runtime import Runtime
from gateway.settings.model import AdminSettings
from gateway.telemetry.feed import Feed

END_SECONDS: Final = 2.0
"""How long running requests get at the end; explanations are short."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class AdminApp:
    """ASGI application: nothing behind it is reached without the key."""

    def __init__(self, current: Callable[[], Runtime], reload: Reload, feed: Feed, pardons: Pardons) -> None:
        """`current` returns the runtime that is in use; its key is the one that counts."""
        self._current = current
        self.door = Door(Ids())
        add_live_paths(self.door, current, reload, pardons)
        add_key_paths(self.door, current)
        add_request_paths(self.door, current)
        add_event_path(self.door, feed, lambda: current().admin_key)
        add_description(self.door)
        add_usage_route(self.door.shell, current, self.door.json)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        try:
            self._admit(dict(scope["headers"]), scope.get("client"))
        except GatewayError as error:
            await self.door.refusal(error, scope)(scope, receive, send)
            return
        await self.door.shell(scope, receive, send)

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

    def __init__(
        self,
        current: Callable[[], Runtime],
        reload: Reload,
        sockets: list[socket.socket],
        feed: Feed,
        pardons: Pardons,
    ) -> None:
        """`sockets` are those of `bind_admin`; `current` returns the runtime that is in use."""
        self._sockets = sockets
        self._feed = feed
        settings = current().settings
        hosts = default_allowed_hosts(settings.admin.host)
        limits = GuardLimits(max_body_bytes=settings.server.max_body_bytes, allowed_hosts=hosts)
        config = uvicorn.Config(
            AdminApp(current, reload, feed, pardons),
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
        self._feed.close()
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait([self._serving])
