"""Passwords inside URLs are found however they are written, so that no text shows them."""

from __future__ import annotations

import pytest

from gateway.credentials.urls import passwords_in


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("memory://", []),
        ("sqlite:////var/lib/anyport/anyport.db", []),
        ("redis://cache:6379/0", []),
        ("redis://user@cache:6379/0", []),
        ("redis://:secret-1@cache:6379/0", ["secret-1"]),
        ("rediss://user:p%40ss%2Fword@cache/0?ssl_ca_certs=x", ["p%40ss%2Fword", "p@ss/word"]),
        ("postgresql://u:first@db/anyport?password=second&sslpassword=third", ["first", "second", "third"]),
        ("postgresql://u:pw@[::1:5432/x", ["postgresql://u:pw@[::1:5432/x"]),
    ],
)
def test_every_form_of_a_password_is_found(url: str, found: list[str]) -> None:
    assert [each.reveal() for each in passwords_in(url)] == found
