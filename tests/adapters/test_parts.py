"""One call as several calls, and their answers as one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.chunks import Chunks, completion, embedding_list
from adapters.codec import encode
from adapters.errors import Malformed, Unsupported
from adapters.framing.sse import DONE_FRAME
from adapters.parts import MAX_COPIED_BYTES, StreamJoiner, join_replies, split_choices, split_inputs, sum_usage
from adapters.types import Call, Operation, Reply, Usage
from tests.adapters.contract import Asked, asked, call_for

COUNTS = Usage(prompt=3, completion=5, cached_prompt=1, cache_write=2, reasoning=4)


def embed(value: Any, **fields: Any) -> Call:
    return call_for(Asked({"input": value, **fields}, operation=Operation.EMBEDDINGS))


def test_each_choice_is_a_call_without_n() -> None:
    call = call_for(asked(n=3, seed=7, stream=True))
    parts = split_choices(call)
    assert len(parts) == 3
    for part in parts:
        assert json.loads(part.body) == {name: value for name, value in json.loads(call.body).items() if name != "n"}
        assert part.fields == {name: value for name, value in call.fields.items() if name != "n"}
        assert (part.id, part.created, part.stream) == (call.id, call.created, True)
    assert parts[0].body is parts[2].body


@pytest.mark.parametrize("fields", [{}, {"n": None}, {"n": 1}, {"n": 1.0}])
def test_one_choice_is_the_call_itself(fields: dict[str, Any]) -> None:
    call = call_for(asked(**fields))
    assert split_choices(call)[0] is call


@pytest.mark.parametrize("count", [0, -1, 17, 1.5, "2", True, [2]])
def test_an_unreasonable_number_of_choices_is_refused_by_name(count: Any) -> None:
    with pytest.raises(Unsupported) as caught:
        split_choices(call_for(asked(n=count)))
    assert caught.value.param == "n"


def test_choices_of_several_prompts_are_refused() -> None:
    prompts = Asked({"prompt": ["a", "b"], "n": 2}, operation=Operation.COMPLETIONS)
    with pytest.raises(Unsupported, match="one prompt"):
        split_choices(call_for(prompts))
    one = Asked({"prompt": [1, 2], "n": 2}, operation=Operation.COMPLETIONS)
    assert len(split_choices(call_for(one))) == 2


@given(st.lists(st.text(), min_size=1, max_size=20), st.integers(1, 7))
def test_every_input_is_in_one_part_and_in_order(inputs: list[str], size: int) -> None:
    call = embed(inputs, user="u")
    parts = split_inputs(call, size)
    bodies = [json.loads(part.body) for part in parts]
    assert [text for body in bodies for text in body["input"]] == inputs
    assert all(len(body["input"]) <= size and body["user"] == "u" for body in bodies)


@pytest.mark.parametrize("value", ["text", [1, 2, 3], ["one"], [[1, 2]]])
def test_what_is_one_input_stays_one_call(value: Any) -> None:
    call = embed(value)
    assert split_inputs(call)[0] is call


def test_token_arrays_are_inputs() -> None:
    parts = split_inputs(embed([[1, 2], [3]]))
    assert [json.loads(part.body)["input"] for part in parts] == [[[1, 2]], [[3]]]


def test_too_many_inputs_and_too_long_repetitions_are_refused() -> None:
    with pytest.raises(Unsupported, match="at most 2 items") as caught:
        split_inputs(embed(["a", "b", "c"]), most=2)
    assert caught.value.param == "input"
    with pytest.raises(Unsupported, match="repeated"):
        split_inputs(embed(["a"] * 1024, user="u" * (MAX_COPIED_BYTES // 1024)))


def answer(text: str, usage: Usage | None = COUNTS, finish: str = "stop") -> Reply:
    message = {"role": "assistant", "content": text}
    return completion(call_for(asked()), model="m", choices=[(message, finish)], usage=usage, extra={"note": text})


def test_choices_are_numbered_and_counts_added_up() -> None:
    joined = join_replies(call_for(asked(n=2)), [answer("a", finish="length"), answer("b")])
    body = json.loads(joined.body)
    assert [(choice["index"], choice["message"]["content"]) for choice in body["choices"]] == [(0, "a"), (1, "b")]
    assert [choice["finish_reason"] for choice in body["choices"]] == ["length", "stop"]
    assert body["note"] == "a"
    assert body["usage"] == {
        "prompt_tokens": 6,
        "completion_tokens": 10,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }
    assert joined.usage == Usage(6, 10, 2, 4, 8, calls=2)
    assert (joined.model, joined.finish) == ("m", "length")


def test_a_choice_too_many_is_left_out() -> None:
    two = [({"role": "assistant", "content": text}, "stop") for text in ("a", "x")]
    first = completion(call_for(asked()), model="m", choices=two, usage=None)
    joined = join_replies(call_for(asked(n=2)), [first, answer("b", None)])
    choices = json.loads(joined.body)["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(0, "a"), (1, "b")]
    assert joined.usage is None


def test_counts_that_one_part_lacks_are_an_estimate() -> None:
    assert sum_usage([COUNTS, None]) == Usage(3, 5, 1, 2, 4, estimated=True)
    assert sum_usage([None, None]) is None
    joined = join_replies(call_for(asked(n=2)), [answer("a", None), answer("b")])
    assert json.loads(joined.body)["usage"]["total_tokens"] == 8


def test_what_is_no_number_is_not_added_up() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.5, "is_byok": True, "tier": None, "deep": None}
    one = Reply(encode({"choices": [{}], "usage": usage}))
    two = Reply(encode({"choices": [{}], "usage": {**usage, "tier": "x", "deep": {"a": 1}}}))
    body = json.loads(join_replies(call_for(asked(n=2)), [one, two]).body)
    assert body["usage"] == {
        "prompt_tokens": 2, "completion_tokens": 2, "cost": 1.0, "is_byok": True, "tier": "x", "deep": {"a": 1},
    }  # fmt: skip


def vectors(*values: float, usage: Usage | None = COUNTS) -> Reply:
    call = embed(["a"] * len(values))
    return embedding_list(call, model="m", vectors=[[value] for value in values], usage=usage)


def test_embeddings_are_numbered_through() -> None:
    call = embed(["a", "b", "c"])
    joined = join_replies(call, [vectors(1.5, 2.5), vectors(3.5)])
    body = json.loads(joined.body)
    assert [(item["index"], item["embedding"]) for item in body["data"]] == [(0, [1.5]), (1, [2.5]), (2, [3.5])]
    assert body["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert joined.usage is not None
    assert joined.usage.prompt == 6


def test_embeddings_that_came_out_of_order_are_put_in_order() -> None:
    mixed = Reply(encode({"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]}))
    body = json.loads(join_replies(embed(["a", "b", "c"]), [mixed, vectors(3.0)]).body)
    assert [item["embedding"] for item in body["data"]] == [[1], [2], [3.0]]


@pytest.mark.parametrize("first", [{"index": 0}, {"index": 5}, {"index": "0"}])
def test_embeddings_that_belong_to_nobody_knows_which_input_are_refused(first: dict[str, Any]) -> None:
    odd = Reply(encode({"data": [{**first, "embedding": [1]}, {"index": 0, "embedding": [2]}]}))
    with pytest.raises(Malformed, match="numbered"):
        join_replies(embed(["a", "b", "c"]), [odd, vectors(3.0)])
    with pytest.raises(Malformed, match="2 embeddings of 3 inputs"):
        join_replies(embed(["a", "b", "c"]), [vectors(1.0), vectors(2.0)])


def test_one_part_is_its_own_answer() -> None:
    reply = answer("a")
    assert join_replies(call_for(asked()), [reply]) is reply


def frames(joined: bytes) -> list[Any]:
    blocks = [block for block in joined.split(b"\n\n") if block]
    return [json.loads(block[6:]) for block in blocks if block[:6] == b"data: " and block[6:] != b"[DONE]"]


def test_the_frames_of_a_part_are_those_of_its_choice() -> None:
    call = call_for(asked(n=2, stream=True, stream_options={"include_usage": True}))
    joiner = StreamJoiner(call)
    first = Chunks(call, "first")
    other = Chunks(call_for(asked()), "other")
    out = joiner.feed(1, first.role() + first.text(b'"a\\n\\nb"'))
    out += joiner.feed(0, other.text(b'"c"') + b": keep-alive\n\n" + other.finish("stop"))
    out += joiner.feed(0, other.usage(COUNTS) + DONE_FRAME)
    out += joiner.feed(1, first.finish("length") + DONE_FRAME)
    out += joiner.close(sum_usage([COUNTS, COUNTS]))
    told = frames(out)
    assert [frame["choices"][0]["index"] for frame in told[:-1]] == [1, 1, 0, 0, 1]
    assert {(frame["id"], frame["created"], frame["model"]) for frame in told} == {(call.id, call.created, "first")}
    assert told[1]["choices"][0]["delta"] == {"content": "a\n\nb"}
    assert (told[-1]["choices"], told[-1]["usage"]["total_tokens"]) == ([], 16)
    assert out.count(DONE_FRAME) == 1
    assert out.endswith(DONE_FRAME)
    assert b": keep-alive\n\n" in out


def test_counts_go_only_to_who_asked() -> None:
    assert StreamJoiner(call_for(asked(n=2, stream=True))).close(COUNTS) == DONE_FRAME


def test_counts_and_choices_of_one_part_alone_are_not_told() -> None:
    joiner = StreamJoiner(call_for(asked(n=2, stream=True)))
    one = {"id": "1", "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"prompt_tokens": 1}}
    more = {"id": "1", "choices": [{"index": 1, "delta": {"content": "x"}}]}
    bare = {"id": "1", "choices": None, "usage": {"prompt_tokens": 1}}
    out = b"".join(joiner.feed(1, b"data: " + encode(event) + b"\n\n") for event in (one, more, bare))
    assert frames(out) == [{"id": "1", "choices": [{"index": 1, "delta": {"content": "a"}}]}]


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=5)), max_size=30))
def test_each_choice_gets_its_text_in_its_order(pieces: list[tuple[int, str]]) -> None:
    call = call_for(asked(n=4, stream=True))
    joiner = StreamJoiner(call)
    chunks = Chunks(call, "m")
    told = frames(b"".join(joiner.feed(part, chunks.text(encode(text))) for part, text in pieces))
    for part in range(4):
        said = [frame["choices"][0]["delta"]["content"] for frame in told if frame["choices"][0]["index"] == part]
        assert said == [text for place, text in pieces if place == part]
