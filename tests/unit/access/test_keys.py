"""Who may call: which keys are taken, where they may stand, and what is refused."""

from __future__ import annotations

import pytest

from gateway.access.keys import ANONYMOUS, Caller, KeyCheck, client_keys, guessable
from gateway.errors import Unauthenticated
from gateway.secret import Secret
from gateway.settings.model import ClientKeySettings, Settings

TEAM = Caller("team-a", frozenset({"gold", "eu"}))
CHECK = KeyCheck([(Secret("sk-one"), ANONYMOUS), (Secret("sk-two"), TEAM)])


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer sk-one"},
        {b"authorization": b"Bearer sk-two"},
        {b"authorization": b"bearer sk-one"},
        {b"authorization": b"BEARER sk-one"},
        {b"authorization": b"Bearer   sk-one "},
        {b"x-api-key": b"sk-one"},
    ],
)
def test_a_known_key_passes(headers: dict[bytes, bytes]) -> None:
    assert not CHECK.is_open
    assert CHECK.check(headers) is (TEAM if b"sk-two" in next(iter(headers.values())) else ANONYMOUS)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"sk-one"},
        {b"authorization": b"Basic sk-one"},
        {b"authorization": b"Bearer sk-on"},
        {b"authorization": b"Bearer sk-one1"},
        {b"authorization": b"Bearer SK-ONE"},
        {b"authorization": b"Bearer sk-one sk-two"},
        {b"authorization": b"Bearer sk-one,sk-two"},
        {b"authorization": b"Bearer \xff\xfe"},
        {b"authorization": b"Bearer " + b"x" * 100_000},
        {b"authorization": b"Basic x", b"x-api-key": b"sk-one"},
        {b"x-api-key": b""},
        {b"x-api-key": b"sk-one "},
        {b"api-key": b"sk-one"},
        {b"cookie": b"key=sk-one"},
    ],
)
def test_everything_else_is_refused(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Unauthenticated) as refused:
        CHECK.check(headers)
    error = refused.value
    assert (error.status, error.code, error.should_retry) == (401, "invalid_api_key", False)
    assert ("www-authenticate", "Bearer") in error.headers()
    assert "sk-" not in error.message


def test_without_keys_everyone_passes() -> None:
    check = KeyCheck([])
    assert check.is_open
    assert check.check({}) is ANONYMOUS
    assert check.check({b"authorization": b"Bearer anything"}) is ANONYMOUS


def test_the_settings_say_whose_each_key_is() -> None:
    named = ClientKeySettings(key=Secret("sk-two"), name="team-a", tags=["gold", "eu", "gold"])
    check = KeyCheck(client_keys([Secret("sk-one"), named]))
    assert check.check({b"x-api-key": b"sk-one"}) is ANONYMOUS
    assert check.check({b"x-api-key": b"sk-two"}) == TEAM


def test_short_keys_of_the_file_are_named_and_not_shown() -> None:
    long = "x" * 16
    settings = Settings.model_validate(
        {
            "server": {
                "api_keys": [long, "canary", {"key": "canary-2", "name": "a"}, {"key": long + "y", "name": "b"}]
            },
            "admin": {"port": 1, "key": "canary-3"},
        }
    )
    said = guessable(settings)
    assert [line.partition(":")[0] for line in said] == ["server.api_keys.1", "server.api_keys.2", "admin.key"]
    assert "canary" not in str(said)
    assert guessable(Settings()) == []


def test_the_keys_themselves_are_not_kept() -> None:
    assert "sk-one" not in repr(vars(CHECK))
    assert "sk-two" not in repr(client_keys([Secret("sk-two")]))
