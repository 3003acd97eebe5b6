"""What of tokens is kept, and who can read it."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.login import Login
from gateway.credentials.vault import Kept, Vault

from .login_house import REFRESH, Clock, House, client, file_of, minimax, place, sent
from .token_endpoint import TokenEndpoint

KEY = "0123456789abcdef-a-key-for-tokens"


async def test_kept_tokens_are_encrypted_if_there_is_a_key(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    environ = {"ANYPORT_TOKEN_KEY": KEY}
    async with client() as control:
        await sent(House(tmp_path, clock, control, environ).signer(minimax(endpoint)))
        data = file_of(tmp_path).read_bytes()
        assert not [word for word in (b"refresh-1", b"ya29.t1", REFRESH.encode(), KEY.encode()) if word in data]
        assert await sent(House(tmp_path, clock, control, environ).signer(minimax(endpoint))) == "ya29.t1"
    assert len(endpoint.asked) == 1


async def test_kept_tokens_are_for_their_user_alone(tmp_path: Path, clock: Clock, endpoint: TokenEndpoint) -> None:
    before = os.umask(0)
    try:
        async with client() as control:
            await sent(House(tmp_path, clock, control).signer(minimax(endpoint)))
    finally:
        os.umask(before)
    files = list((tmp_path / "data").rglob("*"))
    assert {path.name for path in files} == {"logins", "minimax.json", "minimax.lock"}
    for path in (tmp_path / "data", *files):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    file_of(tmp_path).chmod(0o640)
    with pytest.raises(CredentialUnavailable, match=r"others may read .*minimax\.json \(mode 640\): run `chmod 600`"):
        Vault(tmp_path / "data", {}).read("minimax")


KEPT = Kept("origin", "access-1", "refresh-1", 1.0, 2.0)


@pytest.mark.parametrize(
    ("written", "read", "said"),
    [
        ({"ANYPORT_TOKEN_KEY": KEY}, {"ANYPORT_TOKEN_KEY": KEY + "x"}, "written with another ANYPORT_TOKEN_KEY"),
        ({"ANYPORT_TOKEN_KEY": KEY}, {}, "is encrypted: set ANYPORT_TOKEN_KEY"),
    ],
)
def test_a_file_of_another_key_is_said_and_left_alone(
    written: dict[str, str], read: dict[str, str], said: str, tmp_path: Path
) -> None:
    Vault(tmp_path / "data", written).write("minimax", KEPT)
    before = file_of(tmp_path).read_bytes()
    with pytest.raises(CredentialUnavailable, match=said):
        Vault(tmp_path / "data", read).read("minimax")
    assert file_of(tmp_path).read_bytes() == before


async def test_a_damaged_file_is_said_and_not_written_over(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    Vault(tmp_path / "data", {"ANYPORT_TOKEN_KEY": KEY}).write("minimax", KEPT)
    sealed = json.loads(file_of(tmp_path).read_text())
    turned = bytearray(base64.b64decode(sealed["sealed"]))
    turned[3] ^= 1
    for damaged in (
        b"",
        b"{",
        b"[1]",
        b"{}",
        json.dumps({**sealed, "sealed": base64.b64encode(turned).decode()}).encode(),
    ):
        file_of(tmp_path).write_bytes(damaged)
        async with client() as control:
            signer = House(tmp_path, clock, control, {"ANYPORT_TOKEN_KEY": KEY}).signer(minimax(endpoint))
            with pytest.raises(CredentialUnavailable, match=r"is damaged: (remove it|set the key).*log in again"):
                await sent(signer)
        assert file_of(tmp_path).read_bytes() == damaged
    assert endpoint.asked == []


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    file_of(tmp_path).mkdir(parents=True)
    with pytest.raises(CredentialUnavailable, match=r"^logins/minimax\.json cannot be read: is a directory$"):
        Vault(tmp_path / "data", {}).read("minimax")


def test_a_profile_shares_no_file_with_a_provider_whose_id_looks_like_it() -> None:
    assert place(profile="work").account != place(provider="minimax.work").account


def test_tokens_of_one_login_do_not_open_as_those_of_another(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "data", {"ANYPORT_TOKEN_KEY": KEY})
    vault.write("minimax", KEPT)
    file_of(tmp_path).rename(file_of(tmp_path, "minimax.work"))
    with pytest.raises(CredentialUnavailable):
        vault.read("minimax.work")


def test_what_was_kept_without_a_key_is_sealed_the_next_time(tmp_path: Path) -> None:
    Vault(tmp_path / "data", {}).write("minimax", KEPT)
    assert b"refresh-1" in file_of(tmp_path).read_bytes()
    vault = Vault(tmp_path / "data", {"ANYPORT_TOKEN_KEY": KEY})
    kept = vault.read("minimax")
    assert kept == KEPT
    vault.write("minimax", KEPT)
    assert b"refresh-1" not in file_of(tmp_path).read_bytes()
    assert vault.read("minimax") == KEPT


async def test_a_key_that_anybody_could_guess_is_refused(tmp_path: Path, clock: Clock) -> None:
    async with client() as control:
        house = House(tmp_path, clock, control, {"ANYPORT_TOKEN_KEY": "short"})
        with pytest.raises(CredentialUnavailable, match=r"at least 16 characters.*openssl rand -hex 32"):
            house.signer({"refresh_token": REFRESH})


def test_nothing_that_holds_a_token_shows_it() -> None:
    assert "refresh-1" not in repr(KEPT) + str(KEPT)
    assert Login.__name__ in repr(Login)
