"""However the network cuts a stream, the client gets the same bytes and the same things are noted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Head, Operation
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import ADAPTERS, Case, load_cases, play, run, state_of, target_of
from tests.adapters.streams import cuts, streams

STREAMS = [case for case in load_cases() if case.call.stream]
WITH_LF = [
    case
    for case in STREAMS
    if b"\r" not in case.upstream and case.suffix == ".sse" and "json" not in case.head.headers["content-type"]
]
HEAD = Head(200, {"content-type": "text/event-stream"})
BODY = b'{"model":"p/m","messages":[{"role":"user","content":"x"}],"stream":true%s}'
CALLS = [
    read_call(Operation.CHAT, BODY % extra, id="chatcmpl-1", created=1)
    for extra in (b"", b',"stream_options":{"include_usage":true}')
]
TARGETS = [
    target_of(),
    target_of(rules={"reasoning_out": "think_tags", "stream_usage": "always"}),
    target_of(rules={"reasoning_excluded": True}),
]
KINDS = st.tuples(st.sampled_from(CALLS), st.sampled_from(TARGETS))


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_recorded_stream_may_come_byte_by_byte(case: Case) -> None:
    pieces = [case.upstream[at : at + 1] for at in range(len(case.upstream))]
    assert play(case, pieces) == play(case)


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_recorded_stream_may_be_cut_in_two_anywhere(case: Case) -> None:
    whole = play(case)
    for at in range(1, len(case.upstream), 3):
        assert play(case, [case.upstream[:at], case.upstream[at:]]) == whole, at


@given(case=st.sampled_from(STREAMS), data=st.data())
def test_a_recorded_stream_may_be_cut_in_any_way(case: Case, data: st.DataObject) -> None:
    assert play(case, data.draw(cuts(case.upstream))) == play(case)


@given(upstream=streams(), kind=KINDS, data=st.data())
def test_a_generated_stream_may_be_cut_in_any_way(upstream: bytes, kind: tuple, data: st.DataObject) -> None:
    call, target = kind
    adapter = ADAPTERS["openai"]
    whole, cut = adapter.stream(call, target, HEAD), adapter.stream(call, target, HEAD)
    assert run(cut, data.draw(cuts(upstream))) == run(whole, [upstream])
    assert state_of(cut) == state_of(whole)


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
@pytest.mark.parametrize("case", WITH_LF, ids=lambda case: case.name)
def test_line_ends_and_byte_order_marks_change_nothing(case: Case, line_end: bytes) -> None:
    assert play(case, [b"\xef\xbb\xbf" + case.upstream.replace(b"\n", line_end)]) == play(case)


def plain_stream(texts: list[str]) -> bytes:
    role = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n'
    chunks = [
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[{"index":0,"delta":{"content":"' + text.encode() + b'"},"finish_reason":null}]}\n\n'
        for text in texts
    ]
    finish = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    return b"".join([role, *chunks, b": keep-alive\n\n", finish, b"data: [DONE]\n\n"])


@given(
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters='"\\', min_codepoint=32)), max_size=6),
    data=st.data(),
)
def test_an_unremarkable_stream_passes_byte_for_byte(texts: list[str], data: st.DataObject) -> None:
    upstream = plain_stream(texts)
    decoder = ADAPTERS["openai"].stream(CALLS[0], TARGETS[0], HEAD)
    assert run(decoder, data.draw(cuts(upstream))) == upstream
    assert decoder.is_done


def test_a_packet_in_which_nothing_changes_is_passed_on_as_the_same_object() -> None:
    decoder = ADAPTERS["openai"].stream(CALLS[0], TARGETS[0], HEAD)
    decoder.feed(b": hello\n\n")
    packet = plain_stream(["a", "b"]).removesuffix(b"data: [DONE]\n\n")
    assert decoder.feed(packet) is packet
