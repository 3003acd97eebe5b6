"""The tokens that a request may take: text by its bytes, media by the part."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from adapters.types import Operation
from gateway.access.estimate import Tokens, tokens_of
from gateway.http.inbound import read_call
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
    ],
)
def test_the_most_that_may_be_written(fields: dict[str, Any], most: int) -> None:
    assert tokens(**fields).most_output == most


def test_numbers_are_not_written_for_embeddings() -> None:
    assert tokens(Operation.EMBEDDINGS, input="hello").most_output == 0


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
