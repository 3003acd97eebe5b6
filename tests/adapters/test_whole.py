"""An answer in one piece although a stream was asked for: told as a stream, or why it is none."""

from __future__ import annotations

import pytest

from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.types import MAX_EVENT_BYTES, Call, Head, Reply, Target
from adapters.whole import WholeAnswer, is_plain_json
from tests.adapters.recorded import target_of
from tests.engine.doubles import call_of

HEAD = Head(200, {"content-type": "application/json"})
SAID = Failure(FailureKind.SERVER, "no")


def test_an_answer_that_grows_too_long_is_given_up() -> None:
    answer = WholeAnswer(lambda *_: Reply(b""), call_of(stream=True), target_of(), HEAD)
    assert answer.add(bytes(MAX_EVENT_BYTES)) is None
    failure = answer.add(b" ")
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.MALFORMED, "upstream_invalid_response")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpstreamSaid(SAID), None),
        (Malformed("no answer", code="upstream_empty_response"), "upstream_empty_response"),
        (RecursionError(), "upstream_invalid_event"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "upstream_invalid_event"),
    ],
)
def test_an_answer_that_is_none_is_a_failure_and_never_an_exception(error: Exception, code: str | None) -> None:
    def read(_call: Call, _target: Target, _head: Head, body: bytes) -> Reply:
        assert body == b"{}"
        raise error

    answer = WholeAnswer(read, call_of(stream=True), target_of(), HEAD)
    assert answer.add(b"{") is answer.add(b"}") is None
    failure = answer.tell()
    assert isinstance(failure, Failure)
    assert failure.code == code


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/jsonlines", False),
        ("", False),
    ],
)
def test_json_is_what_its_type_says_to_the_letter(said: str, expected: bool) -> None:
    assert is_plain_json(Head(200, {"content-type": said})) is expected
