"""Whoever tries keys gets a few answers a minute, disturbs nobody who has the right one, and reaches no database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.access.guesses import Guesses
from gateway.access.keys import KeyCheck
from gateway.access.picture import KeyPicture
from gateway.access.secrets import Pepper, digest_of, new_key
from gateway.errors import GatewayError
from gateway.records import VirtualKey
from gateway.secret import Secret
from gateway.storage.base import Owners
from tests.security.house import ADMIN_KEY, CONFIG, PLAIN_KEY, House, house

LIMIT = 5
SETTINGS = {**CONFIG, "server": {**CONFIG["server"], "bad_keys_per_minute": LIMIT}}
PEPPER = Pepper(Secret("pepper-canary-0123456789"), Path("nowhere"))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, SETTINGS) as one:
        yield one


def test_more_wrong_keys_than_the_limit_are_told_to_wait_and_right_ones_pass(gateway: House) -> None:
    virtual = gateway.made("keys", name="right")["key"]
    began = time.monotonic()
    codes = [gateway.chat(f"guess-{number}").code for number in range(LIMIT)]
    assert codes == ["invalid_api_key"] * LIMIT
    reply = gateway.chat("sk-anyport-another-guess")
    if time.monotonic() - began < 60 / LIMIT:  # after that one more is due
        assert (reply.status, reply.code) == (429, "too_many_bad_keys")
        assert 1 <= int(reply.headers["retry-after"]) <= 60 / LIMIT
        assert reply.headers["x-should-retry"] == "false"
    for key in (virtual, PLAIN_KEY):
        assert gateway.chat(key).status == 200
        assert gateway.client("GET", "/metrics", key=key).status == 200
    assert gateway.chat(None).code == "invalid_api_key", "no key at all is no guess"


def test_the_operators_door_counts_as_well(gateway: House) -> None:
    for number in range(3 * LIMIT):
        reply = gateway.admin("GET", "/admin/keys", key=f"guess-{number}")
    assert (reply.status, reply.code) == (429, "too_many_bad_keys")
    assert gateway.client("GET", "/metrics", key="guess").code == "too_many_bad_keys"
    assert gateway.admin("GET", "/admin/keys", key=ADMIN_KEY).status == 200


def test_no_header_makes_another_address_of_a_client(gateway: House) -> None:
    for number in range(3 * LIMIT):
        address = f"10.0.0.{number}"
        reply = gateway.chat("guess", x_forwarded_for=address, x_real_ip=address, forwarded=f"for={address}")
    assert reply.code == "too_many_bad_keys"


def test_a_reload_forgets_nothing_and_may_switch_it_off(gateway: House) -> None:
    file = gateway.directory / "anyport.yaml"
    for number in range(3 * LIMIT):
        gateway.chat(f"guess-{number}")
    file.write_text(file.read_text() + "\n")
    assert gateway.admin("POST", "/admin/reload").status == 200
    assert gateway.chat("guess").code == "too_many_bad_keys"
    file.write_text(file.read_text().replace(f'"bad_keys_per_minute": {LIMIT}', '"bad_keys_per_minute": null'))
    assert gateway.admin("POST", "/admin/reload").status == 200
    assert {gateway.chat(f"guess-{number}").code for number in range(3 * LIMIT)} == {"invalid_api_key"}


class Database:
    """Storage that counts how often it is asked."""

    def __init__(self, key: VirtualKey) -> None:
        self.key = key
        self.asked = 0

    async def upgrade(self) -> None:
        """Has its tables."""

    async def owners(self, since_version: int) -> Owners:
        self.asked += 1
        return Owners(1, is_whole=True, keys=(self.key,))


async def test_wrong_keys_ask_no_database_however_many_they_are() -> None:
    right = new_key()
    database = Database(VirtualKey("key_1", "one", digest_of(right.reveal().encode(), PEPPER.read())))
    picture = KeyPicture(lambda: database, PEPPER, clock=time.monotonic, now_ms=lambda: 1, refresh_seconds=3600)
    await picture.start()
    check = KeyCheck([], picture, Guesses(20, clock=lambda: 0.0))
    try:
        asked = database.asked
        for number in range(5000):
            with pytest.raises(GatewayError):
                check.check({b"authorization": b"Bearer sk-anyport-%d" % number}, (f"10.0.0.{number % 250}", 1))
        assert database.asked == asked
        assert check.check({b"authorization": b"Bearer " + right.reveal().encode()}, ("10.0.0.1", 1)).id == "key_1"
    finally:
        await picture.aclose()
