"""The network's trouble as a failure."""

from __future__ import annotations

from typing import Final

from adapters.failures import Failure, FailureKind
from gateway.transport.base import Fault, TransportError

_KINDS: Final = {
    Fault.CONNECT: (FailureKind.CONNECT, "upstream_connection_error"),
    Fault.DNS: (FailureKind.CONNECT, "upstream_dns_error"),
    Fault.TLS: (FailureKind.CONNECT, "upstream_tls_error"),
    Fault.POOL: (FailureKind.CONNECT, "overloaded"),
    Fault.TIMEOUT: (FailureKind.TIMEOUT, "upstream_timeout"),
    Fault.DISCONNECTED: (FailureKind.CONNECT, "upstream_disconnected"),
    Fault.PROTOCOL: (FailureKind.MALFORMED, "upstream_invalid_response"),
    Fault.TOO_LARGE: (FailureKind.MALFORMED, "upstream_invalid_response"),
}


def from_transport(error: TransportError) -> Failure:
    """Returns the failure that the network's trouble means."""
    kind, code = _KINDS[error.fault]
    message = error.message
    if error.setting and error.setting not in message:
        message = f"{message} ({error.setting})"
    retry_after = 1.0 if error.fault is Fault.POOL else None
    return Failure(kind, message, code=code, setting=error.setting, retry_after=retry_after, is_unsent=error.is_unsent)


def too_long() -> TransportError:
    """Returns the trouble of an answer that is over `upstream.max_response_bytes`."""
    return TransportError(Fault.TOO_LARGE, "the upstream's answer is too long", setting="upstream.max_response_bytes")
