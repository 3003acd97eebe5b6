"""Where a server is, read from URLs that may hold a password."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.state.address import read_address
from gateway.state.factory import open_state


@pytest.mark.parametrize(
    ("url", "place", "database"),
    [
        ("redis://cache", "cache:6379", 0),
        ("redis://cache:7000/3", "cache:7000", 3),
        ("redis://user:secret@cache:7000/", "cache:7000", 0),
        ("redis://:se%2Fcret@127.0.0.1/15", "127.0.0.1:6379", 15),
        ("rediss://cache/1?ssl_ca_certs=/etc/ca.pem", "cache:6379", 1),
        ("redis://[::1]:7000/0", "[::1]:7000", 0),
    ],
)
def test_a_place_is_host_and_port(url: str, place: str, database: int) -> None:
    address = read_address(url)
    assert (address.place, address.database) == (place, database)
    assert "cret" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "http://:secret@cache/0",
        "redis://:secret@/0",
        "redis://:secret/with@cache:7000/0",
        "redis://user:12/secret@cache:7000/0",
        "redis://:12?secret@cache:7000/0",
        "redis://:12#secret@cache:7000/0",
        "redis://:secret@cache:port/0",
        "redis://:secret@cache:70000/0",
        "redis://:secret@[cache/0",
        "redis://:secret@cache/zero",
        "redis://:secret@cache/0/1",
        "redis://:secret@cache/0#1",
        "redis://cache/0?password=secret",
        "redis://cache/0?socket_timeout=secret",
    ],
)
def test_a_wrong_url_is_a_fault_that_quotes_nothing_of_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_state(url)
    assert "state.url  write redis://USER:PASSWORD@HOST:PORT/DATABASE" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
