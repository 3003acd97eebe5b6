"""Everything that an upstream can do wrong before a client has seen anything of its answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.shapes import JSON_TYPE, ROLE, SSE_TYPE, completion, delta, event
from tests.faults.streaming import stream_of
from tests.upstreams.scripted import FIN, RESET, STALL, Answer, Step, chunk, json_response, raw, response

BODY = json.dumps(completion()).encode()
WAIT_SECONDS = 1.0
"""The timeouts that a silent upstream runs into."""
CAP = 1024 * 1024
"""Longest body that is read."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault, and what a client hears if nobody else can be asked."""

    plays: Callable[[], Answer]
    status: int
    code: str
    alone: int = 2
    """Attempts at a deployment that is the only one."""
    streams: tuple[bool, ...] = (False, True)


def said(status: int, *headers: tuple[str, str], **error: object) -> Callable[[], Answer]:
    """Returns what plays an upstream's error in OpenAI's shape."""
    whole = {"message": "no", "type": "t", "param": None, "code": None, **error}
    return lambda: json_response({"error": whole}, status, headers)


def _invalid(*steps: Step) -> Trouble:
    return Trouble(lambda: raw(*steps), 502, "upstream_invalid_response")


def _trickling() -> Answer:
    head = response(200, [JSON_TYPE], BODY)
    return Answer([part for byte in head for part in (bytes([byte]), WAIT_SECONDS / 10)])


def _giant() -> Answer:
    def steps() -> Iterator[Step]:
        yield response(200, [JSON_TYPE, ("content-length", str(1024**3))], length=False)
        while True:
            yield b" " * 262_144
            yield 0.0

    return Answer(steps())


def _html() -> Answer:
    return raw(response(200, [("content-type", "text/html")], b"<html>busy</html>"))


def _body(data: bytes, *headers: tuple[str, str]) -> Callable[[], Answer]:
    return lambda: raw(response(200, [JSON_TYPE, *headers], data))


HEADS: dict[str, Trouble] = {
    "reset": Trouble(lambda: raw(RESET), 502, "upstream_disconnected"),
    "close": Trouble(lambda: raw(FIN), 502, "upstream_disconnected"),
    "half a head, then reset": Trouble(lambda: raw(b"HTTP/1.1 200 OK\r\nx-a", RESET), 502, "upstream_disconnected"),
    "silence": Trouble(lambda: raw(STALL), 504, "upstream_timeout", 1),
    "a trickling head": Trouble(_trickling, 504, "upstream_timeout", 1),
    "switching protocols": _invalid(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    "status 999": _invalid(b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\n{}"),
    "no head": _invalid(b'{"choices": []}\r\n\r\n'),
    "two lengths": _invalid(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
    "5000 headers": _invalid(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 5000 + b"content-length: 2\r\n\r\n{}"),
    "html with an error": Trouble(
        lambda: raw(response(502, [("content-type", "text/html")], b"<html>busy</html>")), 502, "upstream_error"
    ),
    "redirect": Trouble(lambda: raw(response(307, [("location", "http://127.0.0.1:1/")])), 502, "upstream_redirect", 1),
    "refused credential": Trouble(said(401), 502, "upstream_auth_error", 1),
    "no money": Trouble(said(402), 429, "insufficient_quota", 1),
    "forbidden": Trouble(said(403), 502, "upstream_auth_error", 1),
    "unknown model": Trouble(said(404, code="model_not_found"), 404, "model_not_found", 1),
    "gone": Trouble(said(410), 404, "model_not_found", 1),
    "request timeout": Trouble(said(408), 504, "upstream_timeout"),
    "conflict": Trouble(said(409), 502, "upstream_error"),
    "too early": Trouble(said(425), 502, "upstream_error"),
    "too many requests": Trouble(said(429, ("retry-after-ms", "200")), 429, "rate_limit_exceeded"),
    "too many requests for an hour": Trouble(said(429, ("retry-after", "3600")), 429, "rate_limit_exceeded", 1),
    "used up quota": Trouble(said(429, code="insufficient_quota"), 429, "insufficient_quota", 1),
    "internal error": Trouble(said(500), 502, "upstream_error"),
    "bad gateway": Trouble(said(502), 502, "upstream_error"),
    "unavailable": Trouble(said(503), 503, "upstream_overloaded"),
    "unavailable for an hour": Trouble(said(503, ("retry-after", "3600")), 503, "upstream_overloaded", 1),
    "gateway timeout": Trouble(said(504), 502, "upstream_error"),
    "origin timeout": Trouble(said(524), 502, "upstream_error"),
    "overloaded": Trouble(said(529), 503, "upstream_overloaded"),
    "an error under 200": Trouble(
        lambda: json_response({"error": {"message": "busy", "type": "overloaded_error"}}), 503, "upstream_overloaded"
    ),
}
BODIES: dict[str, Trouble] = {
    name: Trouble(plays, status, code, alone, (False,))
    for name, (plays, status, code, alone) in {
        "json cut within right framing": (_body(BODY[:-9]), 502, "upstream_invalid_response", 2),
        "length cut": (
            lambda: raw(response(200, [JSON_TYPE], BODY)[:-5], FIN),
            502,
            "upstream_disconnected",
            2,
        ),
        "chunk cut": (
            lambda: raw(
                response(200, [JSON_TYPE, ("transfer-encoding", "chunked")], chunk(BODY)[:-9], length=False), RESET
            ),
            502,
            "upstream_disconnected",
            2,
        ),
        "a body that stalls": (
            lambda: raw(response(200, [JSON_TYPE], BODY)[:-5], STALL),
            504,
            "upstream_timeout",
            1,
        ),
        "an empty body": (_body(b""), 502, "upstream_invalid_response", 2),
        "html": (_html, 502, "upstream_invalid_response", 2),
        "a list": (_body(b"[]"), 502, "upstream_empty_response", 2),
        "no choices": (_body(b'{"choices":[]}'), 502, "upstream_empty_response", 2),
        "a giant body": (_giant, 502, "upstream_invalid_response", 2),
        "a bomb": (
            _body(gzip.compress(b" " * 40 * CAP), ("content-encoding", "gzip")),
            502,
            "upstream_invalid_response",
            2,
        ),
        "invalid utf-8": (_body(BODY.replace(b"fine", b"\xff")), 502, "upstream_invalid_response", 2),
        "deep json": (_body(b"[" * 100_000 + b"]" * 100_000), 502, "upstream_invalid_response", 2),
        "not a number": (_body(BODY[:-1] + b',"a":NaN}'), 502, "upstream_invalid_response", 2),
    }.items()
}
STREAMS: dict[str, Trouble] = {
    name: Trouble(plays, status, code, alone, (True,))
    for name, (plays, status, code, alone) in {
        "reset after the head": (lambda: stream_of(end=(RESET,)), 502, "upstream_disconnected", 2),
        "reset after the role": (lambda: stream_of(ROLE, end=(RESET,)), 502, "upstream_disconnected", 2),
        "reset after pings": (
            lambda: stream_of(b": ping\n\n", b":\n\n", end=(RESET,)),
            502,
            "upstream_disconnected",
            2,
        ),
        "reset within the first content": (
            lambda: stream_of(event(delta(content="x"))[:40], end=(RESET,)),
            502,
            "upstream_disconnected",
            2,
        ),
        "an end after the role": (lambda: stream_of(ROLE), 502, "upstream_truncated", 2),
        "an end at once": (lambda: stream_of(), 502, "upstream_truncated", 2),
        "html for a stream": (_html, 502, "upstream_truncated", 2),
        "done at once": (lambda: stream_of(b"data: [DONE]\n\n"), 502, "upstream_empty_response", 2),
        "an error first": (
            lambda: stream_of(ROLE, {"error": {"message": "boom", "type": "server_error"}}),
            502,
            "upstream_error",
            2,
        ),
        "an event that is not json": (lambda: stream_of(ROLE, b"data: {x\n\n"), 502, "upstream_invalid_event", 2),
        "silence after the role": (lambda: stream_of(ROLE, end=(STALL,)), 504, "upstream_timeout", 1),
        "a stream cut at its end": (
            lambda: raw(response(200, [SSE_TYPE], b"data: [DO", length=False), FIN),
            502,
            "upstream_truncated",
            2,
        ),
    }.items()
}
ALL = {**HEADS, **BODIES, **STREAMS}
