"""What the adapters should do one day and do not do yet; each line fails on purpose until it does."""

from __future__ import annotations

import json

import pytest

from adapters.types import Head
from tests.adapters.contract import asked, call_for
from tests.adapters.recorded import ADAPTERS, target_of

STREAM_HEAD = Head(200, {"content-type": "text/event-stream"})
ADAPTER = ADAPTERS["openai"]


@pytest.mark.xfail(strict=True, reason="a stream that comes although none was asked for is refused, not put together")
def test_an_unasked_stream_is_put_together() -> None:
    body = (
        b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]}\n\n'
        b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    reply = ADAPTER.reply(call_for(asked()), target_of(), STREAM_HEAD, body)
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "hi"
