"""The tokens that a request may take: text by its bytes, media by the part."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from adapters.types import Operation
from gateway.access.estimate import Tokens, tokens_of
from gateway.http.api.inbound import read_call
from gateway.routing.asking import Asking

ASSUMED = 4096


def tokens(operation: Operation = Operation.CHAT, **fields: Any) -> Tokens:
    said: dict[str, Any] = {"model": "m", **fields}
    if operation is Operation.CHAT:
        said.setdefault("messages", [{"role": "user", "content": "hi"}])
    body = json.dumps(said).encode()
    return tokens_of(Asking(read_call(operation, body, id="c", created=0)), ASSUMED)


def with_parts(*parts: dict[str, Any]) -> Tokens:
    return tokens(messages=[{"role": "user", "content": list(parts)}])


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, ASSUMED),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9, "max_tokens": 7}, 9),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"n": 2}, 2 * ASSUMED),
        ({"max_tokens": None, "n": None}, ASSUMED),
        ({"max_tokens": 999_999_999, "n": 128}, 10**9),
        ({"max_tokens": 7, "n": 10_000}, 70_000),
        ({"max_tokens": 7.0, "n": 3.0}, 21),
        ({"max_tokens": "7", "n": "3"}, 21),
        ({"max_completion_tokens": 7, "max_tokens": 9}, 9),
        ({"max_tokens": 10**12}, 10**9),
        ({"max_tokens": "many"}, ASSUMED),
        ({"max_tokens": 7, "thinking": {"type": "enabled", "budget_tokens": 2_000}}, 2_007),
        ({"max_tokens": 7, "additionalModelRequestFields": {"thinking": {"budget_tokens": 2_000}}}, 2_007),
    ],
)
def test_the_most_that_may_be_written(fields: dict[str, Any], most: int) -> None:
    assert tokens(**fields).most_output == most


def test_numbers_are_not_written_for_embeddings() -> None:
    assert tokens(Operation.EMBEDDINGS, input="hello").most_output == 0


@pytest.mark.parametrize(
    ("prompt", "most"), [("a", 7), (["a", "b", "c"], 21), ([[1, 2], [3]], 14), ([1, 2, 3], 7), ([], 7)]
)
def test_each_prompt_of_several_is_answered(prompt: Any, most: int) -> None:
    assert tokens(Operation.COMPLETIONS, prompt=prompt, max_tokens=7).most_output == most


def test_each_of_several_choices_may_read_the_whole_input() -> None:
    fields = {"messages": [{"role": "user", "content": "a" * 40_000}], "max_tokens": 7}
    one, eight = tokens(**fields), tokens(**fields, n=8)
    assert 8 * one.most_input <= eight.most_input <= 8 * one.most_input + 100
    assert eight.input <= one.input + 10


def test_text_takes_more_at_worst_than_about() -> None:
    found = tokens(messages=[{"role": "user", "content": "a" * 40_000}])
    assert 10_000 <= found.input <= 10_100
    assert 20_000 <= found.most_input <= 20_200


def test_a_picture_counts_by_the_part_and_not_by_its_bytes() -> None:
    data = base64.b64encode(b"x" * 90_000).decode()
    inside = with_parts({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    elsewhere = with_parts({"type": "image_url", "image_url": {"url": "https://pictures.test/1.png"}})
    for found in (inside, elsewhere):
        assert 2_000 <= found.input <= found.most_input <= 3_000


def test_long_sound_counts_by_its_length() -> None:
    data = base64.b64encode(b"x" * 3_000_000).decode()
    found = with_parts({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    assert 4_000_000 // 64 <= found.input <= 4_000_000 // 64 + 10_000


def test_words_about_media_are_text() -> None:
    found = with_parts({"type": "text", "text": 'what is "image_url" and ;base64, in a message?'})
    assert found.most_input < 100


PICTURE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://pictures.test/1.png"}}
LONG = "data:text/plain;base64," + "a" * 40_000


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [PICTURE, {"type": "text", "text": f"{LONG}"}]}]},
        {"messages": [{"role": "user", "content": [PICTURE, {"type": "text", "text": f'"url":"{LONG}'}]}]},
        {"messages": [{"role": "user", "content": [PICTURE]}], "tools": [{"type": "function", "url": LONG}]},
        {"messages": [{"role": "user", "content": [PICTURE]}], "tools": [{"type": "function", "data": "a" * 40_000}]},
    ],
)
def test_text_that_looks_like_a_picture_beside_a_real_one_is_text(fields: dict[str, Any]) -> None:
    assert tokens(**fields).most_input >= 22_000


@pytest.mark.parametrize("name", ['"image_url" : ', '"image\\u005furl":', '"\\u0069mage_url" :'])
def test_a_picture_counts_however_its_name_is_written(name: str) -> None:
    part = json.dumps(PICTURE).replace('"image_url": {', name + "{")
    body = f'{{"model": "m", "messages": [{{"role": "user", "content": [{part}]}}]}}'.encode()
    call = read_call(Operation.CHAT, body, id="c", created=0)
    assert 2_000 <= tokens_of(Asking(call), ASSUMED).most_input <= 2_200


def test_pictures_as_some_programs_write_them_count_by_the_part() -> None:
    part = json.dumps({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "a/" * 40_000}})
    body = f'{{"model": "m", "messages": [{{"role": "user", "content": [{part}]}}]}}'.replace("/", "\\/").encode()
    call = read_call(Operation.CHAT, body, id="c", created=0)
    assert 2_000 <= tokens_of(Asking(call), ASSUMED).most_input <= 2_200
