"""The errors that a client can see.

GatewayError(status, type, code, param, message, headers)
|-- CallerError                       the request is at fault
|   |-- InvalidRequest        400     invalid_request_error, param set
|   |-- UnsupportedParameter  400     the protocol cannot express it
|   |-- UnsupportedOperation  400     the protocol has no such operation
|   |-- BodyTooLarge          413
|   |-- UnsupportedMedia      415
|   |-- Unauthenticated       401     invalid_api_key
|   |-- BadSignature          401     invalid_signature; an interaction that is not Discord's
|   |-- RouteNotAllowed       403     route_not_allowed; a client's key at the operator's door
|   |-- StillAtWork           409     idempotency_in_progress, retry-after 1
|   |-- TooManyBadKeys        429     too_many_bad_keys, retry-after
|   |-- UnknownUrl            404     no such path
|   |-- MethodNotAllowed      405     with Allow
|   `-- UnknownModel          404     model_not_found; lists the nearest names
|-- NotAdmitted                       a limit of the client's own key, project or team
|   |-- RateLimited           429     type says of what: requests or tokens
|   `-- BudgetExceeded        429     insufficient_quota
|-- UpstreamError(attempts)           every attempt is inside, in order
|   |-- UpstreamRejected      4xx     the upstream's own refusal of this request, scrubbed
|   |-- UpstreamUnavailable   429/502/503
|   `-- UpstreamTimeout       504     the message names the setting
`-- GatewayFault                      we are at fault
    |-- Draining              503     retry-after 1
    |-- Overloaded            503     retry-after 1
    |-- LimitsUnavailable     503     retry-after 1
    |-- LedgerUnavailable     503     retry-after 1
    |-- KeysUnavailable       503     retry-after 1
    `-- Internal              500     id only; details in the log

ConfigError(faults)                   never in the request path
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from adapters.types import Headers

_encode = msgspec.json.Encoder().encode


class GatewayError(Exception):
    """An answer to the client in OpenAI's error shape."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    refused_by: tuple[str, str] = ("", "")
    """The kind of a limit and its owner, for the operator alone."""
    should_retry: bool = False
    """Value of `x-should-retry`, which the OpenAI SDKs obey over the status."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        type: str | None = None,
        headers: Headers = (),
        should_retry: bool | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.extra_headers = headers
        self.details = details
        self.status = self.status if status is None else status
        self.type = self.type if type is None else type
        self.code = self.code if code is None else code
        self.should_retry = self.should_retry if should_retry is None else should_retry

    def body(self) -> bytes:
        """Returns OpenAI's error object as JSON."""
        return _encode({"error": self.members()})

    def members(self) -> dict[str, object]:
        """Returns OpenAI's four keys, and `details` where there are any."""
        members = _members(self.message, self.type, self.code, self.param)
        if self.details is not None:
            members["details"] = self.details
        return members

    def headers(self) -> Headers:
        """Returns the response headers that belong to this error."""
        should_retry = "true" if self.should_retry else "false"
        return (("x-should-retry", should_retry), *self.extra_headers)


def error_body(message: str, *, type: str, code: str | None = None, param: str | None = None) -> bytes:
    """Returns `{"error": {...}}` with OpenAI's four keys."""
    return _encode({"error": _members(message, type, code, param)})


def _members(message: str, type: str, code: str | None, param: str | None) -> dict[str, object]:
    return {"message": message, "type": type, "param": param, "code": code}


class CallerError(GatewayError):
    """The request is at fault; sending it again gives the same answer."""

    status = 400
    type = "invalid_request_error"


class InvalidRequest(CallerError):
    """A field or the body as a whole is wrong."""


class UnsupportedParameter(CallerError):
    """The chosen provider cannot express a field."""

    code = "unsupported_parameter"


class UnsupportedOperation(CallerError):
    """The chosen provider has no such operation; the message names those that it has."""

    code = "unsupported_operation"


class BodyTooLarge(CallerError):
    """The body is over `server.max_body_bytes`."""

    status = 413
    code = "request_too_large"


class UnsupportedMedia(CallerError):
    """Not JSON, or compressed."""

    status = 415
    code = "unsupported_media_type"


class Unauthenticated(CallerError):
    """No key, or not one of ours."""

    status = 401
    code = "invalid_api_key"

    def headers(self) -> Headers:
        """Adds the challenge that HTTP demands of a 401."""
        return (*super().headers(), ("www-authenticate", "Bearer"))


class BadSignature(CallerError):
    """Not signed by the chat that it should be from, or too long ago."""

    status = 401
    code = "invalid_signature"


class RouteNotAllowed(CallerError):
    """The key exists, and is not for this path."""

    status = 403
    type = "permission_error"
    code = "route_not_allowed"


class StillAtWork(CallerError):
    """The same request is being served; whether it has to be made again is known when that has ended."""

    status = 409
    code = "idempotency_in_progress"
    should_retry = True

    def headers(self) -> Headers:
        """Adds when to come back."""
        return (*super().headers(), ("retry-after", "1"))


class TooManyBadKeys(CallerError):
    """Too many wrong keys came from one address; a right one still passes."""

    status = 429
    code = "too_many_bad_keys"


class UnknownUrl(CallerError):
    """No such path."""

    status = 404
    code = "unknown_url"


class MethodNotAllowed(CallerError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class UnknownModel(CallerError):
    """No route, provider or discovered server has this model."""

    status = 404
    code = "model_not_found"


class NotAdmitted(GatewayError):
    """A limit of the key, project or team that calls; nothing was sent to anybody."""

    status = 429


class RateLimited(NotAdmitted):
    """Too many requests or tokens for a minute, or requests at the same time."""

    type = "requests"
    code = "rate_limit_exceeded"
    should_retry = True


class BudgetExceeded(NotAdmitted):
    """No money left for this request."""

    type = "insufficient_quota"
    code = "insufficient_quota"


class UpstreamError(GatewayError):
    """No attempt succeeded."""


class UpstreamRejected(UpstreamError):
    """The upstream refused this request; its status and scrubbed message are passed on."""

    status = 400
    type = "invalid_request_error"


class UpstreamUnavailable(UpstreamError):
    """The upstream cannot answer now."""

    status = 502
    type = "upstream_error"


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer in time; the message names the setting."""

    status = 504
    type = "upstream_error"
    code = "upstream_timeout"


class GatewayFault(GatewayError):
    """We are at fault."""


class Draining(GatewayFault):
    """The gateway is shutting down."""

    status = 503
    code = "server_shutting_down"
    should_retry = True

    def headers(self) -> Headers:
        """Adds when to come back."""
        return (*super().headers(), ("retry-after", "1"))


class Overloaded(Draining):
    """Too many requests at once for this process."""

    code = "overloaded"


class LimitsUnavailable(Draining):
    """Nobody can say whether limits allow it, and the operator wants no guess."""

    code = "limits_unavailable"


class KeysUnavailable(Draining):
    """Nobody can say whether there is such a key: storage does not answer."""

    code = "keys_unavailable"


class LedgerUnavailable(Draining):
    """What a request uses cannot be recorded now, and the operator wants none served unrecorded."""

    code = "ledger_unavailable"


class Internal(GatewayFault):
    """A bug; the details are in the log under the request id."""

    code = "internal_error"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a configuration file; line and column count from 1, 0 means the whole file."""

    file: str
    line: int
    column: int
    path: str
    """Dotted path of the setting, such as `routes.fast.deployments.0.model`."""
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}  {self.path}  {self.message}" if self.path else f"{where}  {self.message}"


class ConfigError(Exception):
    """Everything wrong with the configuration, at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)
