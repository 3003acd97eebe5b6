"""Between httpx2's values and ours, both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from math import inf
from typing import Final, cast

import httpx2

from adapters.types import HttpRequest
from gateway.transport.base import Fault, Timeouts, TransportError, UpstreamResponse

_ERRORS: Final[Mapping[Fault, type[httpx2.TransportError]]] = {
    Fault.CONNECT: httpx2.ConnectError,
    Fault.DNS: httpx2.ConnectError,
    Fault.TLS: httpx2.ConnectError,
    Fault.POOL: httpx2.PoolTimeout,
    Fault.TIMEOUT: httpx2.ReadTimeout,
    Fault.DISCONNECTED: httpx2.RemoteProtocolError,
    Fault.PROTOCOL: httpx2.RemoteProtocolError,
    Fault.TOO_LARGE: httpx2.RemoteProtocolError,
}


def as_request(request: httpx2.Request, body: bytes) -> HttpRequest:
    """Returns our form of an httpx2 request whose body has been read."""
    headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw
    )
    return HttpRequest(request.method, str(request.url), headers, body)


def as_timeouts(request: httpx2.Request) -> Timeouts:
    """Returns the request's own timeouts; httpx2's read timeout stands for head and idle alike."""
    given = cast(Mapping[str, float | None], request.extensions.get("timeout", {}))

    def seconds(name: str) -> float:
        value = given.get(name)
        return inf if value is None else value

    return Timeouts(
        connect=seconds("connect"), pool=seconds("pool"), head=seconds("read"), idle=seconds("read")
    )


def as_response(response: UpstreamResponse, request: httpx2.Request) -> httpx2.Response:
    """Returns httpx2's form of a response whose body is still to be read."""
    return httpx2.Response(
        response.head.status,
        headers=list(response.head.headers.items()),
        stream=_Body(response, request),
        extensions={"http_version": b"HTTP/1.1"},
        request=request,
    )


def to_httpx(error: TransportError, request: httpx2.Request) -> httpx2.TransportError:
    """Returns the httpx2 exception that says the same."""
    kind = _ERRORS[error.fault]
    if error.setting == "upstream.connect_seconds":
        kind = httpx2.ConnectTimeout
    return kind(error.message, request=request)


class _Body(httpx2.AsyncByteStream):
    """A response body as httpx2 reads it."""

    def __init__(self, response: UpstreamResponse, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._response.next():
                yield data
        except TransportError as error:
            raise to_httpx(error, self._request) from error

    async def aclose(self) -> None:
        self._response.release()
