"""A body read, and the refusal of one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.types import Call, Operation
from gateway.errors import GatewayError
from gateway.http.api.inbound import read_call

USER = {"role": "user", "content": "hello"}
Refusal = tuple[int, str | None, str | None]


def read(body: bytes | Any, operation: Operation = Operation.CHAT) -> Call:
    """Returns what is read of a body."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_call(operation, text, id="chatcmpl-1", created=5)


def refusal(body: bytes | Any, operation: Operation = Operation.CHAT) -> Refusal:
    """Returns status, code and parameter of the error that a body is refused with."""
    with pytest.raises(GatewayError) as refused:
        read(body, operation)
    error = refused.value
    assert error.message
    assert error.should_retry is False
    assert json.loads(error.body())["error"]["type"] == "invalid_request_error"
    return error.status, error.code, error.param


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    """Returns the body of a chat."""
    return {"model": "p/m", "messages": list(messages) or [USER], **fields}
