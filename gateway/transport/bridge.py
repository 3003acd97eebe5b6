"""Between httpx2's values and ours, both ways."""

from __future__ import annotations

import socket
import ssl
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
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw)
    return HttpRequest(request.method, str(request.url), headers, body)


def as_timeouts(request: httpx2.Request) -> Timeouts:
    """Returns the request's own timeouts; httpx2's read timeout stands for head and idle alike."""
    given = cast(Mapping[str, float | None], request.extensions.get("timeout", {}))

    def seconds(name: str) -> float:
        value = given.get(name)
        return inf if value is None else value

    return Timeouts(connect=seconds("connect"), pool=seconds("pool"), head=seconds("read"), idle=seconds("read"))


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
    if error.fault is Fault.TIMEOUT and error.is_unsent:
        kind = httpx2.ConnectTimeout
    return kind(error.message, request=request)


def from_httpx(error: httpx2.TransportError, *, was_reused: bool) -> TransportError:
    """Returns our form of an httpx2 exception, whose own text may hold response data and is left out."""
    if isinstance(error, httpx2.PoolTimeout):
        return TransportError(Fault.POOL, "no free connection in time", setting="upstream.pool_seconds")
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return _from_connect_error(error)
    is_unanswered = "without sending a response" in str(error)
    is_cut = is_unanswered or "without sending complete message" in str(error)
    if isinstance(error, httpx2.NetworkError | httpx2.TimeoutException) or is_cut:
        # A timeout of the operating system's, since httpx2 is given none here.
        # A reset is no proof that no byte came, so it is not replayed here.
        message = "the connection was closed before the end of the response"
        return TransportError(Fault.DISCONNECTED, message, replayable=is_unanswered and was_reused)
    return TransportError(Fault.PROTOCOL, "the response is not valid HTTP, or the request could not be sent")


def _from_connect_error(error: httpx2.TransportError) -> TransportError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return TransportError(Fault.TLS, "the TLS handshake failed or the certificate is refused")
        if isinstance(cause, socket.gaierror):
            return TransportError(Fault.DNS, "the host name cannot be resolved")
        cause = cause.__cause__ or cause.__context__
    return TransportError(Fault.CONNECT, "the connection failed")


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
