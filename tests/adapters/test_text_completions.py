"""Text completions of protocols that do not speak OpenAI: the frames, and the whole answer."""

from __future__ import annotations

import json

from adapters.chunks import DONE_FRAME, TextChunks, text_completion
from adapters.framing.sse import DataSplitter
from adapters.translated import TranslatedStream
from adapters.types import Call, Head, Operation, Usage
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import events, run, target_of

BODY = b'{"model":"p/m","prompt":"x","stream":true,"stream_options":{"include_usage":true}}'
CALL: Call = read_call(Operation.COMPLETIONS, BODY, id="cmpl-1", created=7)


class _Words(TranslatedStream[bytes]):
    """Says what it is fed."""

    def event(self, event: bytes) -> None:
        if event == b"end":
            self.usage = Usage(prompt=1, completion=2)
            self.end("length")
            self.complete()
        else:
            self.think(b'"hm"')
            self.say(event)


def test_a_translated_text_completion_has_no_roles_and_no_reasoning() -> None:
    decoder = _Words(CALL, target_of(), Head(200), DataSplitter(1000))
    found = events(run(decoder, [b'data: "a"\n\ndata: end\n\n']))
    assert [event["choices"] for event in found[:-1]] == [
        [{"index": 0, "text": "a", "logprobs": None, "finish_reason": None}],
        [{"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}],
        [],
    ]
    assert {event["object"] for event in found[:-1]} == {"text_completion"}
    assert found[2]["usage"]["total_tokens"] == 3
    assert found[-1] == "[DONE]"
    assert decoder.has_content


def test_a_text_frame_may_carry_log_probabilities() -> None:
    chunk = TextChunks(CALL, "m").text(b'"a"', b'{"tokens":["a"]}')
    assert events(chunk + DONE_FRAME)[0]["choices"][0]["logprobs"] == {"tokens": ["a"]}


def test_a_whole_text_completion_holds_every_choice() -> None:
    reply = text_completion(CALL, model="m", choices=[("a", "stop", None), ("b", "length", {})], usage=None)
    body = json.loads(reply.body)
    assert [choice["text"] for choice in body["choices"]] == ["a", "b"]
    assert (body["object"], body["created"], reply.finish) == ("text_completion", 7, "stop")
    assert "usage" not in body
