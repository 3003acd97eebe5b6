"""What is not understood is not touched: requests and answers pass byte by byte where nothing has to change."""

from __future__ import annotations

import json

import httpx2

from tests.e2e.answers import completion, sse, text_chunks
from tests.e2e.stage import Stage
from tests.upstreams.scripted import Answer, raw, response

JSON_TYPE = {"content-type": "application/json"}
ODD_MESSAGES = (
    r'[{"role":"user","content":"Z\u00fcrich \ud83d\ude00 z\u00fc\/rich 😀", "name" : "x"},'
    ' {"content":"y","role":"user"}]'
)
ODD_FIELDS = (
    '"temperature":1.0, "seed": 12345678901234567890,\n "top_p":1e-1 ,"logit_bias":{"50256":-100}, "unknown":[1.50,{}]'
)


def _members(body: bytes) -> dict[str, str]:
    """Returns the top-level members of a JSON object with their values as they were written."""
    text, at = body.decode(), 1
    decoder, members = json.JSONDecoder(), {}
    while True:
        while text[at] in " \n\t,":
            at += 1
        if text[at] == "}":
            return members
        name, at = decoder.raw_decode(text, at)
        while text[at] in " \n\t:":
            at += 1
        _, end = decoder.raw_decode(text, at)
        members[name] = text[at:end]
        at = end


def _post(url: str, body: str, path: str = "/v1/chat/completions") -> httpx2.Response:
    return httpx2.post(url + path, content=body.encode(), headers=JSON_TYPE)


def _json_answer(body: bytes) -> bytes:
    return response(200, [("content-type", "application/json")], body)


def test_only_the_model_of_a_request_changes(anyport: str, scripted: Stage) -> None:
    scripted.play(raw(_json_answer(json.dumps(completion()).encode())))
    sent = f'{{"model": "stub/quick", "messages": {ODD_MESSAGES}, {ODD_FIELDS}}}'
    assert _post(anyport, sent).status_code == 200
    before, after = _members(sent.encode()), _members(scripted.last.body)
    assert after == {**before, "model": '"quick"'}
    assert list(after) == list(before), "the order is kept"


def test_only_the_model_and_the_wish_for_usage_of_a_streamed_request_change(anyport: str, scripted: Stage) -> None:
    scripted.play(_stream(sse(text_chunks("Hi"))))
    sent = f'{{"messages": {ODD_MESSAGES}, {ODD_FIELDS}, "stream": true, "model": "stub/quick"}}'
    assert _post(anyport, sent).status_code == 200
    before, after = _members(sent.encode()), _members(scripted.last.body)
    assert after == {**before, "model": '"quick"', "stream_options": '{"include_usage":true}'}


def test_a_request_whose_wishes_are_complete_keeps_its_stream_options(anyport: str, scripted: Stage) -> None:
    scripted.play(_stream(sse(text_chunks("Hi"))))
    options = '{ "include_usage" : true, "include_obfuscation":false }'
    sent = f'{{"messages": {ODD_MESSAGES}, "stream": true, "stream_options": {options}, "model": "stub/quick"}}'
    assert _post(anyport, sent).status_code == 200
    assert _members(scripted.last.body)["stream_options"] == options


def test_a_whole_answer_arrives_as_the_upstream_wrote_it(anyport: str, scripted: Stage) -> None:
    written = json.dumps({**completion("Zürich 😀"), "vendor": {"x": 1.50}}, indent=3).encode() + b"\n"
    scripted.play(raw(_json_answer(written)))
    answer = _post(anyport, f'{{"model": "stub/quick", "messages": {ODD_MESSAGES}}}')
    assert answer.content == written


def test_embeddings_arrive_as_the_upstream_wrote_them(anyport: str, scripted: Stage) -> None:
    written = b'{"object": "list", "data": [ {"index":0, "embedding":[1.0,2.50e-1], "object":"embedding"} ] }'
    scripted.play(raw(_json_answer(written)))
    answer = _post(anyport, '{"model": "stub/e", "input": "x"}', "/v1/embeddings")
    assert answer.content == written


def _stream(body: bytes, size: int | None = None) -> Answer:
    pieces = [body[at : at + size] for at in range(0, len(body), size)] if size else [body]
    head = response(200, [("content-type", "text/event-stream")], length=False)
    head = head.replace(b"\r\n\r\n", b"\r\ncontent-length: %d\r\n\r\n" % len(body))
    return raw(head, *pieces)


ASKS_FOR_USAGE = (
    '{"model": "stub/quick", "messages": [{"role": "user", "content": "Hi"}], "stream": true, '
    '"stream_options": {"include_usage": true}}'
)


def test_a_stream_arrives_as_the_upstream_wrote_it(anyport: str, scripted: Stage) -> None:
    written = b": a comment\n\n" + sse(text_chunks("Zür", "ich ", "😀"))
    scripted.play(_stream(written))
    assert _post(anyport, ASKS_FOR_USAGE).content == written


def test_a_stream_in_pieces_of_one_byte_arrives_as_the_upstream_wrote_it(anyport: str, scripted: Stage) -> None:
    written = sse(text_chunks("Zür", "ich ", "😀"))
    scripted.play(_stream(written, 1))
    assert _post(anyport, ASKS_FOR_USAGE).content == written


def test_a_stream_with_other_line_ends_arrives_with_the_usual_ones(anyport: str, scripted: Stage) -> None:
    written = sse(text_chunks("Zür", "ich"))
    scripted.play(_stream(b"\xef\xbb\xbf" + written.replace(b"\n", b"\r\n"), 7))
    assert _post(anyport, ASKS_FOR_USAGE).content == written
