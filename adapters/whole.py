"""A whole JSON answer, told as a stream: for upstreams that do not stream although they were asked to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from adapters.codec import as_list, as_object, decode, encode
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.framing.sse import DONE_FRAME, frame
from adapters.types import MAX_EVENT_BYTES, Call, Head, Operation, Reply, Target

WholeReader = Callable[[Call, Target, Head, bytes], Reply]
"""What reads a protocol's answer in one piece."""


def is_plain_json(head: Head) -> bool:
    """Says whether an answer comes in one piece although a stream was asked for."""
    return head.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


class WholeAnswer:
    """Such an answer: gathered, checked, told as a stream."""

    def __init__(self, read: WholeReader, call: Call, target: Target, head: Head) -> None:
        self._read = read
        self._call = call
        self._target = target
        self._head = head
        self._received = bytearray()

    def add(self, data: bytes) -> Failure | None:
        """Takes the next piece; returns a failure if that is one too many."""
        self._received += data
        if len(self._received) > MAX_EVENT_BYTES:
            return _malformed("the upstream's answer is too long", "upstream_invalid_response")
        return None

    def tell(self) -> tuple[Reply, bytes] | Failure:
        """Returns the answer and its frames, or why it is none."""
        try:
            reply = self._read(self._call, self._target, self._head, bytes(self._received))
            return reply, as_stream(reply.body, self._call)
        except UpstreamSaid as said:
            return said.failure
        except Malformed as error:
            return _malformed(error.message, error.code)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _malformed("the upstream's answer holds a value that cannot be read", "upstream_invalid_event")


def _malformed(message: str, code: str) -> Failure:
    return Failure(FailureKind.MALFORMED, message, code=code)


def as_stream(body: bytes, call: Call) -> bytes:
    """Returns a whole chat or text completion as the frames of a stream."""
    answer = as_object(decode(body))
    usage = answer.pop("usage", None)
    is_chat = call.operation is Operation.CHAT
    if is_chat:
        answer["object"] = "chat.completion.chunk"
    frames: list[bytes] = []
    for choice in map(as_object, as_list(answer["choices"])):
        if is_chat:
            delta = as_object(choice.pop("message", None))
            for index, tool_call in enumerate(as_list(delta.get("tool_calls"))):
                as_object(tool_call)["index"] = index
            choice["delta"] = delta
        finish = choice.get("finish_reason")
        frames.append(frame(encode({**answer, "choices": [{**choice, "finish_reason": None}]})))
        last = {"index": choice.get("index", 0), "finish_reason": finish or "stop", "logprobs": None}
        last |= {"delta": {}} if is_chat else {"text": ""}
        frames.append(frame(encode({**answer, "choices": [last]})))
    if call.wants_usage and usage is not None:
        frames.append(frame(encode({**answer, "choices": [], "usage": usage})))
    return b"".join([*frames, DONE_FRAME])
