"""The three exceptions that may leave an adapter."""

from __future__ import annotations

from adapters.failures import Failure


class Unsupported(Exception):
    """The protocol cannot express a field of the request."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


class Malformed(Exception):
    """The upstream's bytes are not what its protocol promises."""

    def __init__(self, message: str, *, code: str = "upstream_invalid_response") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UpstreamSaid(Exception):
    """The upstream reported an error inside a response that began as a success."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
