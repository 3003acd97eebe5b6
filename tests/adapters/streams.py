"""Generated streams: what a server that speaks OpenAI's wire may send, in every framing that the standard allows."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

LETTERS = 'ab <>/thinké漢🙂\u2028\u2029\u0085"\\\n\r\t\x7f'
TEXTS = st.text(st.one_of(st.sampled_from(LETTERS), st.characters(codec="utf-8")), max_size=12)
PART = st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS})
DETAIL = st.fixed_dictionaries({"text": st.one_of(TEXTS, st.none(), st.just(5))})
TAGGED = st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</", "think>", "\n", "<think>\n", "a"])
FINISHES = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "eos", "tool_use", "", "error", "odd"])
USAGE = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 50), "completion_tokens": st.integers(0, 50)},
    optional={"total_tokens": st.integers(0, 120), "completion_tokens_details": st.just({"reasoning_tokens": 3})},
)
FUNCTION = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["f", "g", None]),
        "arguments": st.one_of(st.sampled_from(["", "{}", '{"a"', None]), st.just({"a": 1})),
    },
)
TOOL_DELTA = st.fixed_dictionaries(
    {"function": FUNCTION},
    optional={
        "index": st.integers(0, 3),
        "id": st.sampled_from(["call_1", "call_2", "", None]),
        "type": st.sampled_from(["function", None]),
    },
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": st.one_of(TEXTS, TAGGED, st.none(), st.lists(PART, max_size=2)),
        "reasoning": st.one_of(TEXTS, st.none()),
        "reasoning_content": st.one_of(TEXTS, st.none()),
        "reasoning_details": st.lists(DETAIL, max_size=2),
        "tool_calls": st.lists(TOOL_DELTA, max_size=3),
    },
)
CHOICE = st.fixed_dictionaries(
    {"index": st.integers(0, 1)},
    optional={"delta": DELTA, "finish_reason": st.one_of(st.none(), st.none(), FINISHES), "message": DELTA},
)
CHUNK: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"choices": st.lists(CHOICE, min_size=1, max_size=2)},
    optional={"usage": st.one_of(st.none(), USAGE), "id": st.just("chatcmpl-1"), "model": st.just("m")},
)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.just({}),
    st.builds(lambda usage: {"choices": [], "usage": usage}, USAGE),
    st.just({"choices": [], "prompt_filter_results": []}),
    st.just({"error": {"message": "no", "code": 502}}),
    st.just({"object": "error", "message": "no"}),
    st.just({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "slow"}}),
    st.just([1]),
    st.just("text"),
)
FINISHED = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def _event(value: Any, *, blank: bool, ascii: bool, spaced: bool, name: str | None) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    text = json.dumps(value, ensure_ascii=ascii, separators=separators).encode("utf-8", "surrogatepass")
    return (f"event: {name}\n".encode() if name else b"") + b"data:" + b" " * blank + text + b"\n\n"


EVENT = st.builds(
    _event,
    st.one_of(CHUNK, CHUNK, CHUNK, ODD),
    blank=st.booleans(),
    ascii=st.booleans(),
    spaced=st.booleans(),
    name=st.sampled_from([None, None, None, "message", "error", "ping"]),
)
FILLER = st.sampled_from(
    [b": ping\n\n", b":\n\n", b"\n", b"\n\n", b"event: ping\n\n", b"retry: 1\n\n", b"data:\n\n", b": a\n: b\n\n"]
)
END = st.sampled_from([b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE]", b"", b"data: {", b"data: [DONE]\n\nx"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Draws the bytes of a whole stream in one of the three line ends, or a mixture of them."""
    parts = draw(st.lists(st.one_of(EVENT, EVENT, FILLER), max_size=8))
    if draw(st.booleans()):
        parts.append(_event(FINISHED, blank=True, ascii=True, spaced=False, name=None))
    lines = b"".join([*parts, draw(END)]).split(b"\n")
    ends = draw(st.sampled_from([[b"\n"], [b"\r\n"], [b"\r"], [b"\n", b"\r\n"], [b"\r\n", b"\r", b"\n"]]))
    out = b"".join(line + ends[number % len(ends)] for number, line in enumerate(lines[:-1])) + lines[-1]
    return b"\xef\xbb\xbf" * draw(st.integers(0, 1)) + out


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Draws a way of cutting `data` into pieces, from one packet to single bytes."""
    if draw(st.integers(0, 5)) == 0:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]
