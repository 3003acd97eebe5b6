"""A model server inside this process, for `demo/echo`: says the last user message back, in OpenAI's wire."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping

from adapters.codec import JSON, as_list, as_object, decode, encode
from adapters.framing.sse import DONE_FRAME, frame
from adapters.types import Head, HttpRequest
from gateway.transport.base import MAX_RESPONSE_BYTES, Fault, Taker, Timeouts, TransportError, UpstreamResponse, poured

_PAUSE_SECONDS = 0.02
_NOTHING_SAID = "Say something, and I say it back. Set a provider's API key to talk to a real model."


class EchoTransport:
    """Implements Transport without a network."""

    async def send(self, request: HttpRequest, timeouts: Timeouts, *, fresh: bool = False) -> UpstreamResponse:
        """Answers a chat or text completion; anything else gets 404, as from a server that has no such path."""
        body = as_object(decode(request.body))
        path = request.url.rpartition("/v1")[2]
        if path not in ("/chat/completions", "/completions"):
            return _Response(Head(404, _JSON), [_error(f"demo/echo has no {path}")])
        text = _last_text(body) or _NOTHING_SAID
        is_chat = path == "/chat/completions"
        if body.get("stream") is True:
            return _Response(Head(200, {"content-type": "text/event-stream"}), _stream(text, is_chat))
        return _Response(Head(200, _JSON), [encode(_answer(text, is_chat))])

    async def aclose(self) -> None:
        """Has nothing to close."""


class _Response:
    def __init__(self, head: Head, pieces: list[bytes]) -> None:
        self.head = head
        self._pieces = pieces
        self._next = 0

    @property
    def is_complete(self) -> bool:
        return self._next >= len(self._pieces)

    async def next(self) -> bytes:
        if self.is_complete:
            return b""
        if self._next:
            await asyncio.sleep(_PAUSE_SECONDS)
        self._next += 1
        return self._pieces[self._next - 1]

    async def pour(self, take: Taker) -> bool:
        return await poured(self.next, take)

    def expect_within(self, seconds: float, setting: str) -> None:
        return

    async def read(self, limit: int = MAX_RESPONSE_BYTES) -> bytes:
        whole = b"".join(self._pieces[self._next :])
        self._next = len(self._pieces)
        if len(whole) > limit:
            raise TransportError(Fault.TOO_LARGE, "the answer is too long")
        return whole

    def release(self) -> None:
        self._next = len(self._pieces)


_JSON: Mapping[str, str] = {"content-type": "application/json"}


def _last_text(body: Mapping[str, JSON]) -> str:
    if isinstance(body.get("prompt"), str):
        return body["prompt"]
    for message in reversed(as_list(body.get("messages"))):
        if as_object(message).get("role") == "user":
            content = as_object(message).get("content")
            if isinstance(content, str):
                return content
            return "".join(str(as_object(part).get("text") or "") for part in as_list(content))
    return ""


def _base(is_chat: bool, is_stream: bool) -> dict[str, JSON]:
    kind = "chat.completion" if is_chat else "text_completion"
    return {
        "id": "chatcmpl-" + secrets.token_hex(12),
        "object": kind + (".chunk" if is_stream and is_chat else ""),
        "created": int(time.time()),
        "model": "echo",
    }


def _usage(text: str) -> dict[str, int]:
    words = len(text.split())
    return {"prompt_tokens": words, "completion_tokens": words, "total_tokens": 2 * words}


def _answer(text: str, is_chat: bool) -> dict[str, JSON]:
    said: dict[str, JSON] = (
        {"message": {"role": "assistant", "content": text, "refusal": None}} if is_chat else {"text": text}
    )
    choice = {"index": 0, **said, "finish_reason": "stop", "logprobs": None}
    return {**_base(is_chat, False), "choices": [choice], "usage": _usage(text)}


def _stream(text: str, is_chat: bool) -> list[bytes]:
    base = _base(is_chat, True)

    def event(said: dict[str, JSON], finish: str | None = None) -> bytes:
        choice = {"index": 0, **said, "finish_reason": finish, "logprobs": None}
        return frame(encode({**base, "choices": [choice]}))

    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1][:-1]
    if is_chat:
        pieces = [event({"delta": {"role": "assistant", "content": ""}})]
        pieces += [event({"delta": {"content": word}}) for word in words]
        pieces.append(event({"delta": {}}, "stop"))
    else:
        pieces = [event({"text": word}) for word in words] + [event({"text": ""}, "stop")]
    pieces.append(frame(encode({**base, "choices": [], "usage": _usage(text)})) + DONE_FRAME)
    return pieces


def _error(message: str) -> bytes:
    return encode({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}})
