"""AWS's own library judges: it knows every member of Converse, and it reads event streams."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from adapters.errors import Unsupported
from adapters.framing import FramingError
from adapters.framing.eventstream import MessageSplitter
from adapters.types import MAX_EVENT_BYTES, Operation
from tests.adapters.bedrock.asking import (
    ADAPTER,
    CLAUDE,
    CLAUDE_3,
    GPT_OSS,
    LLAMA,
    MISTRAL,
    NOVA,
    OPUS_46,
    OPUS_55,
    call_of,
    target,
)
from tests.adapters.contract import CASES
from tests.adapters.inbound import CHAT
from tests.adapters.recorded import GOLDEN

SERVICE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")
SHAPE = SERVICE.operation_model("Converse").input_shape
REQUESTS = {name: {**base, **added} for name, (base, added) in CHAT.items()} | {
    name: dict(case.fields) for name, case in CASES.items() if case.operation is Operation.CHAT
}
pytestmark = pytest.mark.skipif("outputConfig" not in SHAPE.members, reason="the library is older than the wire")
STREAMS = sorted((GOLDEN / "bedrock").glob("*/upstream.bin"))


def with_bytes(value: Any) -> Any:
    """JSON has bytes as base64; the library wants them as they are."""
    if isinstance(value, list):
        return [with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = ("bytes", "redactedContent")
    return {name: base64.b64decode(item) if name in named else with_bytes(item) for name, item in value.items()}


def complaints(body: Any) -> list[str]:
    report = ParamValidator().validate({"modelId": "m", **with_bytes(body)}, SHAPE)
    return [report.generate_report()] * report.has_errors()


@pytest.mark.parametrize("model", [CLAUDE, CLAUDE_3, OPUS_46, OPUS_55, NOVA, LLAMA, MISTRAL, GPT_OSS])
def test_every_request_is_one_that_the_library_would_send(model: str) -> None:
    judged = 0
    for name, fields in REQUESTS.items():
        try:
            made = ADAPTER.request(call_of(**fields), target(model))
        except Unsupported:
            continue
        assert complaints(json.loads(made.body)) == [], name
        judged += 1
    assert judged > len(REQUESTS) * 0.8


def test_the_recorded_requests_are_ones_that_the_library_would_send() -> None:
    bodies = [json.loads(path.read_bytes()) for path in (GOLDEN / "bedrock").glob("*/request.json")]
    chats = [request["body"] for request in bodies if "/converse" in request["url"]]
    assert [complaints(body) for body in chats] == [[]] * len(chats)


def test_the_judge_refuses_what_is_wrong() -> None:
    assert complaints({"messages": [{"role": "user", "content": [{"text": 5}]}]})
    assert complaints({"messages": [], "max_tokens": 5})
    assert complaints({"messages": [], "inferenceConfig": {"maxTokens": 0}})


def named(headers: dict[str, Any]) -> str:
    return next(headers[name] for name in (":event-type", ":exception-type", ":error-code") if name in headers)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.parent.name)
def test_a_stream_is_cut_into_the_same_messages(path: Path) -> None:
    data = path.read_bytes()
    theirs = EventStreamBuffer()
    theirs.add_data(data)
    expected: list[Any] = []
    found: Sequence[Any]
    try:
        expected.extend((each.headers[":message-type"], named(each.headers), each.payload) for each in theirs)
    except ChecksumMismatch:
        with pytest.raises(FramingError) as broken:
            MessageSplitter(MAX_EVENT_BYTES).feed(data)
        found = broken.value.events
    else:
        found = MessageSplitter(MAX_EVENT_BYTES).feed(data)
    assert [(each.heading.kind, each.heading.name, each.payload) for each in found] == expected
