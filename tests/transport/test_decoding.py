"""Compressed bodies, piece by piece."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transport.base import TransportError
from gateway.transport.decoding import PIECE_BYTES, Inflater


def drain(inflater: Inflater) -> list[bytes]:
    """Takes pieces until more input is needed."""
    pieces = [inflater.take()]
    while not inflater.is_drained:
        pieces.append(inflater.take())
    return pieces


@given(st.binary(max_size=2000), st.integers(0, 300), st.data())
def test_any_cutting_decodes_to_the_same_text(seed: bytes, times: int, data: st.DataObject) -> None:
    text = seed * times
    packed = gzip.compress(text)
    inflater = Inflater(is_gzip=True)
    decoded = b""
    while packed:
        size = data.draw(st.integers(1, len(packed)))
        inflater.push(packed[:size])
        packed = packed[size:]
        decoded += b"".join(drain(inflater))
    inflater.finish()
    assert decoded == text


@pytest.mark.parametrize("missing", range(1, 40))
def test_what_can_be_decoded_is_not_held_back(missing: int) -> None:
    packed = zlib.compress(bytes(4 * PIECE_BYTES))[:-missing]
    inflater = Inflater(is_gzip=False)
    inflater.push(packed)
    pieces = drain(inflater)
    assert sum(map(len, pieces)) == len(zlib.decompressobj().decompress(packed))
    assert max(map(len, pieces)) <= PIECE_BYTES
    with pytest.raises(TransportError):
        inflater.finish()


def test_a_body_of_exactly_one_piece_is_whole() -> None:
    inflater = Inflater(is_gzip=True)
    inflater.push(gzip.compress(bytes(PIECE_BYTES)))
    assert sum(map(len, drain(inflater))) == PIECE_BYTES
    inflater.finish()


def test_a_bomb_costs_a_piece_at_a_time() -> None:
    inflater = Inflater(is_gzip=True)
    inflater.push(gzip.compress(bytes(100 * PIECE_BYTES)))
    assert len(inflater.take()) == PIECE_BYTES
    assert not inflater.is_drained
