"""What of Bedrock's answers is none, and where a stream breaks."""

from __future__ import annotations

import pytest

from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import FailureKind
from adapters.framing.eventstream import encode
from adapters.types import MAX_EVENT_BYTES, Head
from tests.adapters.bedrock.answering import (
    HEAD,
    delta,
    deltas,
    ended,
    event,
    replied,
    streamed,
    tool_start,
    whole,
)
from tests.adapters.bedrock.asking import ADAPTER, call_of, target


@pytest.mark.parametrize(
    "body",
    [b"", b"junk", b"\xff", b"[]", b"{}", b'{"output":{"message":{"content":[]}}}', b'{"stopReason":"end_turn"}'],
)
def test_what_is_no_answer_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        replied(body)


def test_an_error_under_200_is_the_upstreams() -> None:
    with pytest.raises(UpstreamSaid) as said:
        replied(b'{"message":"Too many requests"}', head=Head(200, {"x-amzn-errortype": "ThrottlingException"}))
    assert said.value.failure.kind is FailureKind.RATE_LIMIT


def test_a_call_without_a_name_is_malformed() -> None:
    with pytest.raises(Malformed):
        replied(whole([{"toolUse": {"toolUseId": "t", "input": {}}}], "tool_use"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", FailureKind.RATE_LIMIT),
        ("internalServerException", FailureKind.SERVER),
        ("modelStreamErrorException", FailureKind.SERVER),
        ("serviceUnavailableException", FailureKind.OVERLOADED),
        ("validationException", FailureKind.BAD_REQUEST),
        ("modelTimeoutException", FailureKind.TIMEOUT),
    ],
)
def test_an_exception_ends_the_stream_as_a_failure(name: str, kind: FailureKind) -> None:
    found, decoder = streamed(delta(0, text="a"), event(name, {"message": "no"}, "exception"), delta(0, text="b"))
    assert deltas(found) == [{"content": "a"}]
    assert "[DONE]" not in found
    assert decoder.failure is not None
    assert (decoder.failure.kind, decoder.failure.message) == (kind, "no")


def test_an_exception_names_the_models_own_status() -> None:
    payload = {"message": "no", "originalStatusCode": 429, "originalMessage": "slow"}
    _, decoder = streamed(event("modelStreamErrorException", payload, "exception"))
    assert decoder.failure is not None
    assert decoder.failure.status == 429


def test_a_stream_that_stops_is_a_failure() -> None:
    for parts in ([delta(0, text="a")], [delta(0, text="a")[:-5]], [delta(0, text="a"), b"1234567"]):
        found, decoder = streamed(*parts)
        assert decoder.failure is not None
        assert "[DONE]" not in found


def test_a_stream_without_counts_is_whole_if_it_has_its_reason() -> None:
    found, decoder = streamed(delta(0, text="a"), event("messageStop", {"stopReason": "end_turn"}))
    assert found[-1] == "[DONE]"
    assert decoder.usage is None


@pytest.mark.parametrize(
    "payload",
    [b'{"delta":{"text":5}}', b'{"delta":{"text":"\xff"}}', b"{", b"[]", b'{"delta":{"toolUse":{"input":{}}}}', b"{}"],
)
def test_an_event_that_cannot_be_read_is_a_failure(payload: bytes) -> None:
    headers = {":event-type": "contentBlockDelta", ":message-type": "event"}
    _, decoder = streamed(delta(0, text="a"), tool_start(0), encode(headers, payload))
    assert decoder.failure is not None
    assert decoder.failure.kind is FailureKind.MALFORMED


def test_events_that_nobody_knows_are_passed_over() -> None:
    found, decoder = streamed(event("newEvent", {"x": 1}), delta(0, image={"x": 1}), delta(0, text="a"), ended())
    assert deltas(found) == [{"content": "a"}]
    assert decoder.failure is None


def test_a_block_that_is_gathered_has_a_cap() -> None:
    piece = delta(0, reasoningContent={"text": "x" * (MAX_EVENT_BYTES // 4)})
    decoder = ADAPTER.stream(call_of(stream=True), target(), HEAD)
    for _ in range(5):
        decoder.feed(piece)
    assert decoder.failure is not None
