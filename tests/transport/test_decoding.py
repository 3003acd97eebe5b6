"""Compressed bodies, piece by piece."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transport.base import Fault, TransportError
from gateway.transport.decoding import PIECE_BYTES, Inflater


def drain(inflater: Inflater) -> list[bytes]:
    """Takes pieces until more input is needed."""
    pieces = [inflater.take()]
    while not inflater.is_drained:
        assert len(pieces) < 1000
        pieces.append(inflater.take())
    return pieces


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


PACKERS = {"gzip": gzip.compress, "zlib": zlib.compress, "deflate": raw_deflate}


@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=2000), st.integers(0, 300), st.data())
def test_any_cutting_decodes_to_the_same_text(name: str, seed: bytes, times: int, data: st.DataObject) -> None:
    text = seed * times
    packed = PACKERS[name](text)
    inflater = Inflater(is_gzip=name == "gzip")
    decoded = b""
    while packed:
        size = data.draw(st.integers(1, len(packed)))
        inflater.push(packed[:size])
        packed = packed[size:]
        decoded += b"".join(drain(inflater))
    inflater.finish()
    assert decoded == text


@given(st.binary(max_size=300), st.booleans())
def test_junk_is_decoded_or_refused_but_never_endless(junk: bytes, is_gzip: bool) -> None:
    inflater = Inflater(is_gzip=is_gzip)
    pieces: list[bytes] = []
    try:
        for byte in junk:
            inflater.push(bytes([byte]))
            pieces += drain(inflater)
        inflater.finish()
    except TransportError as error:
        assert error.fault in {Fault.PROTOCOL, Fault.DISCONNECTED}
    else:
        assert all(len(piece) <= PIECE_BYTES for piece in pieces)


@pytest.mark.parametrize("over", range(0, 300, 20))
def test_what_can_be_decoded_is_not_held_back(over: int) -> None:
    whole = zlib.compress(bytes(PIECE_BYTES + over))
    for missing in range(1, 12):
        packed = whole[:-missing]
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


@pytest.mark.parametrize("is_gzip", [True, False])
def test_an_empty_body_is_whole_although_it_is_no_compressed_one(is_gzip: bool) -> None:
    inflater = Inflater(is_gzip=is_gzip)
    assert inflater.take() == b""
    assert inflater.is_drained
    inflater.finish()
