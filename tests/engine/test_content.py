"""What is kept of requests of keys that keep content: whole, but for secrets and what is too long."""

from __future__ import annotations

import json

import pytest

from adapters.framing.sse import frame
from gateway.credentials.scrub import Scrubber
from gateway.engine.content import Keeper
from gateway.secret import Secret
from gateway.settings.model import StorageSettings
from gateway.storage.segments import MAX_CONTENT_BYTES

CANARY = "provider-canary-0123456789"


def keeper(max_bytes: int = 1000) -> Keeper:
    return Keeper(Scrubber([Secret(CANARY)]).whole, max_bytes)


def events(*texts: str) -> list[bytes]:
    return [frame(json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode()) for text in texts]


def test_a_request_and_its_answer_are_kept_as_they_are() -> None:
    kept = keeper().begin('{"a": "first\\nsecond \u00e9"}'.encode())
    kept.add(b'{"answer": 1}')
    content = kept.content()
    assert content.request == '{"a": "first\\nsecond \u00e9"}'.encode()
    assert (content.answer, content.request_bytes, content.answer_bytes) == (b'{"answer": 1}', 25, 13)


def test_both_are_cut_between_characters_and_say_how_long_they_were() -> None:
    kept = keeper(5).begin("aaaa\u00e9b".encode())
    for piece in events("one", "two", "three"):
        kept.add(piece)
    content = kept.content()
    assert (content.request, content.request_bytes) == (b"aaaa", 7)
    assert content.answer == b"data:"
    assert content.answer_bytes == sum(map(len, events("one", "two", "three")))


def test_of_a_long_stream_no_more_is_held_than_is_kept() -> None:
    kept = keeper(10).begin(b"")
    for _ in range(100):
        kept.add(bytes(1000))
    assert len(kept._pieces) == 5
    assert kept.content().answer_bytes == 100_000


def test_a_request_that_nothing_answered_is_kept() -> None:
    content = keeper().begin(b"{}").content()
    assert (content.request, content.answer, content.answer_bytes) == (b"{}", b"", 0)


@pytest.mark.parametrize("before", range(900, 1001, 7))
def test_secrets_are_taken_out_wherever_the_cut_goes(before: int) -> None:
    kept = keeper().begin(b"x" * before + CANARY.encode() + b"sk-anyport-" + b"k" * 43)
    kept.add(b"y" * (5080 - before) + CANARY.encode())
    content = kept.content()
    for text in (content.request, content.answer):
        assert b"canary" not in text
        assert b"kkk" not in text


def test_of_a_stream_that_spells_a_secret_in_bits_the_text_alone_is_kept() -> None:
    kept = keeper().begin(b"")
    for piece in events("it is ", *CANARY, ", is it?"):
        kept.add(piece)
    assert kept.content().answer == b"it is ***, is it?"


def test_other_streams_are_kept_as_they_were_sent() -> None:
    kept = keeper().begin(b"")
    pieces = [*events("it", " is", ' "so"'), b"data: [DONE]\n\n"]
    for piece in pieces:
        kept.add(piece)
    assert kept.content().answer == b"".join(pieces)


def test_what_may_be_configured_fits_into_the_journal() -> None:
    assert StorageSettings(max_content_bytes=MAX_CONTENT_BYTES).max_content_bytes == MAX_CONTENT_BYTES
    with pytest.raises(ValueError, match="max_content_bytes"):
        StorageSettings(max_content_bytes=MAX_CONTENT_BYTES + 1)
