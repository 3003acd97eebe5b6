"""A whole JSON answer, told as a stream: for upstreams that do not stream although they were asked to."""

from __future__ import annotations

from adapters.codec import as_list, as_object, decode, encode
from adapters.framing.sse import DONE_FRAME, frame
from adapters.types import Call, Operation


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
