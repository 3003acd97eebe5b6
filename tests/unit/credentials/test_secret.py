"""A secret shows itself to nobody who does not ask for it by name."""

from __future__ import annotations

import copy
import ctypes
import gc
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

import msgspec
import pytest

from gateway.secret import Secret, SecretWiped

VALUE = "sk-thisMustStayHidden0123456789"


@dataclass(frozen=True)
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r:>40}",
        lambda secret: f"{secret:>40}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - this is how logging formats
        lambda secret: "{}".format(secret),  # noqa: UP032
        lambda secret: repr([secret, {"a": secret}]),
        lambda secret: repr(Holder(secret)),
    ],
)
def test_no_way_of_writing_it_shows_the_value(show: Callable[[Secret], str]) -> None:
    text = show(Secret(VALUE))
    assert VALUE not in text
    assert "***" in text


@pytest.mark.parametrize(
    "give_away",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        vars,
        Secret.__reduce__,
        lambda secret: asdict(Holder(secret)),
        lambda secret: pickle.dumps(Holder(secret)),
        bytes,
        list,
    ],
)
def test_no_way_of_copying_or_serialising_it_works(give_away: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as caught:
        give_away(Secret(VALUE))
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_logging_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("key %s %r", Secret(VALUE), Holder(Secret(VALUE)))
    assert caplog.messages == ["key *** Holder(secret=Secret(***))"]


def test_a_traceback_does_not_show_it() -> None:
    secret = Secret(VALUE)
    with pytest.raises(ValueError, match="used") as caught:
        raise ValueError(f"{secret} was used", secret)
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_a_traceback_with_locals_does_not_show_it() -> None:
    def fail(secret: Secret) -> None:
        raise ValueError(bool(secret))

    try:
        fail(Secret(VALUE))
    except ValueError as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
        assert VALUE not in "".join(lines)


def test_it_is_equal_to_a_secret_of_the_same_value_only() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != VALUE
    assert len({Secret(VALUE), Secret(VALUE), Secret("other")}) == 2


def test_it_is_true_if_it_is_not_empty_and_gives_the_value_when_asked() -> None:
    assert Secret(VALUE)
    assert not Secret("")
    assert Secret(VALUE).reveal() == VALUE
    assert len(Secret(VALUE).digest()) == 32


def place_of(secret: Secret) -> tuple[bytearray, int]:
    """Returns what holds the bytes of a secret, and where in memory they begin."""
    buffer = secret._buffer
    return buffer, ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


def test_a_header_has_it_behind_its_prefix_as_one_and_the_same_text() -> None:
    secret = Secret(VALUE)
    assert secret.reveal_after("Bearer ") == f"Bearer {VALUE}"
    assert secret.reveal_after("Bearer ") is secret.reveal_after("Bearer ")
    assert secret.reveal_after("") == VALUE


def test_wiping_overwrites_it_where_it_stands() -> None:
    secret = Secret(VALUE)
    buffer, address = place_of(secret)
    assert ctypes.string_at(address, len(buffer)) == VALUE.encode()
    secret.wipe()
    assert ctypes.string_at(address, len(VALUE)) == bytes(len(VALUE)) == bytes(buffer)
    secret.wipe()


def test_it_is_overwritten_when_nobody_has_it_any_more() -> None:
    secret = Secret(VALUE)
    buffer, address = place_of(secret)
    holder: list[object] = [secret]
    holder.append(holder)  # a cycle, as most of what holds secrets is in
    del secret, holder
    gc.collect()
    assert ctypes.string_at(address, len(VALUE)) == bytes(len(VALUE)) == bytes(buffer)


@pytest.mark.parametrize(
    "use",
    [
        Secret.reveal,
        Secret.digest,
        hash,
        lambda secret: secret == Secret(VALUE),
        lambda secret: secret.reveal_after("x"),
    ],
)
def test_one_that_was_wiped_says_so_to_whoever_uses_it(use: Callable[[Secret], object]) -> None:
    secret = Secret(VALUE)
    secret.reveal_after("x")
    secret.wipe()
    with pytest.raises(SecretWiped, match="wiped"):
        use(secret)
    assert secret.is_wiped
    assert secret, "or somebody would go on without any credential"
    assert (repr(secret), str(secret)) == ("Secret(wiped)", "***")


@pytest.mark.parametrize("text", ["", "schl\u00fcssel", "\udc80"])
def test_text_of_any_kind_comes_back_as_it_was(text: str) -> None:
    assert Secret(text).reveal() == text
