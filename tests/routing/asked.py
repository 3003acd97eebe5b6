"""Requests as routing sees them."""

from __future__ import annotations

import json
from typing import Any

from adapters.types import Operation
from gateway.http.api.inbound import read_call
from gateway.routing.asking import Asking

HELLO = [{"role": "user", "content": "hello"}]


def asking(
    operation: Operation = Operation.CHAT,
    *,
    headers: dict[str, str] | None = None,
    key_name: str = "",
    key_tags: tuple[str, ...] = (),
    **fields: Any,
) -> Asking:
    """A request with these members; a chat has a message unless it brings its own."""
    body: dict[str, Any] = {"model": "r"}
    if operation is Operation.CHAT:
        body["messages"] = HELLO
    call = read_call(operation, json.dumps(body | fields).encode(), id="chatcmpl-1", created=1)
    sent = {name.encode(): value.encode("latin-1") for name, value in (headers or {}).items()}
    return Asking(call, sent, key_name=key_name, key_tags=frozenset(key_tags))
