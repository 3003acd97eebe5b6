"""Logins: tokens that are renewed by a refresh token, which the vendor may replace."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.failures import Failure, FailureKind
from adapters.types import HttpRequest
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.logins import Logins
from gateway.credentials.minimax import MiniMaxLogin, minimax_login
from gateway.credentials.vault import Vault
from gateway.domain import LoginKind
from gateway.secret import Secret
from gateway.settings.provider import LoginRow
from gateway.transport.control import ControlClient, ControlReply

from .login_house import REFRESH, REQUEST, Clock, House, client, file_of, minimax, place, sent
from .token_endpoint import TokenEndpoint, serving

HOUR = 3600.0


REFUSED = {"error": "invalid_grant", "error_description": "Token has been revoked: " + REFRESH}


# MiniMax's refresh grant.


async def test_a_refresh_token_becomes_an_access_token(tmp_path: Path, clock: Clock, endpoint: TokenEndpoint) -> None:
    async with client() as control:
        signer = House(tmp_path, clock, control).signer(minimax(endpoint))
        assert await sent(signer) == "ya29.t1"
        assert await sent(signer) == "ya29.t1"
    (form,) = endpoint.asked
    assert form == {
        "grant_type": "refresh_token",
        "refresh_token": REFRESH,
        "client_id": "78257093-7e40-4613-99e0-527b14b39113",
    }
    assert endpoint.headers[0]["user-agent"] == "Anyport"


@pytest.mark.parametrize(
    ("base_url", "environ", "placeholder", "host"),
    [
        ("https://api.minimax.io/v1", {}, "", "api.minimax.io"),
        ("https://api.minimaxi.com/v1", {}, "", "api.minimaxi.com"),
        ("https://api.minimax.io/v1", {"MINIMAX_OAUTH_REGION": "CN"}, "", "api.minimaxi.com"),
        ("https://api.minimax.io/v1", {"MINIMAX_OAUTH_REGION": "intl"}, "", "api.minimax.io"),
        ("https://api.minimax.io/v1", {}, "minimax-oauth-cn", "api.minimaxi.com"),
    ],
)
def test_a_login_of_minimax_is_renewed_at_the_address_of_its_region(
    base_url: str, environ: dict[str, str], placeholder: str, host: str
) -> None:
    known = {"MINIMAX_OAUTH_REFRESH_TOKEN": REFRESH, **environ}
    login = minimax_login(LoginRow(), known, base_url, where="login", placeholder=placeholder)
    assert isinstance(login, MiniMaxLogin)
    assert login.request(login.refresh).url == f"https://{host}/oauth/token"


async def test_a_200_without_success_is_a_refusal(tmp_path: Path, clock: Clock) -> None:
    words = {"base_resp": {"status_code": 1004, "status_msg": f"login fail: {REFRESH}"}}
    with serving(TokenEndpoint(refusal=words, status=200)) as endpoint:  # pyright: ignore[reportArgumentType]
        async with client() as control:
            signer = House(tmp_path, clock, control).signer(minimax(endpoint))
            with pytest.raises(CredentialUnavailable, match=r"login fail.*set providers\.minimax\.login") as caught:
                await sent(signer)
    assert REFRESH not in str(caught.value)


# Whoever has renewed last is believed.


async def test_the_refresh_token_that_an_answer_gives_is_used_the_next_time(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    async with client() as control:
        signer = House(tmp_path, clock, control).signer(minimax(endpoint))
        await sent(signer)
        clock.now += HOUR
        assert await sent(signer) == "ya29.t2"
    assert [form["refresh_token"] for form in endpoint.asked] == [REFRESH, "refresh-1"]


async def test_a_kept_refresh_token_serves_after_a_restart_and_in_other_processes(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    async with client() as control:
        first, second = (House(tmp_path, clock, control).signer(minimax(endpoint)) for _ in range(2))
        assert [await sent(first), await sent(second)] == ["ya29.t1", "ya29.t1"]
        assert len(endpoint.asked) == 1, "the second one found what the first one had kept"
        clock.now += HOUR
        assert [await sent(second), await sent(first)] == ["ya29.t2", "ya29.t2"]
    assert [form["refresh_token"] for form in endpoint.asked] == [REFRESH, "refresh-1"]


async def test_processes_that_renew_at_the_same_time_ask_once(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    async with client() as control:
        houses = [House(tmp_path, clock, control).signer(minimax(endpoint)) for _ in range(5)]
        assert set(await asyncio.gather(*map(sent, houses))) == {"ya29.t1"}
    assert len(endpoint.asked) == 1


async def test_another_refresh_token_of_the_operator_begins_anew(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    async with client() as control:
        await sent(House(tmp_path, clock, control).signer(minimax(endpoint)))
        await sent(House(tmp_path, clock, control).signer(minimax(endpoint, refresh_token="a-new-login")))
    assert [form["refresh_token"] for form in endpoint.asked] == [REFRESH, "a-new-login"]


async def test_a_token_that_is_still_good_serves_while_the_vendor_is_down(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    async with client() as control:
        await sent(House(tmp_path, clock, control).signer(minimax(endpoint)))
        endpoint.refusal, endpoint.status = {}, 503
        clock.now += HOUR - 60
        other = House(tmp_path, clock, control).signer(minimax(endpoint))
        assert await sent(other) == "ya29.t1"
        clock.now += 60
        with pytest.raises(CredentialUnavailable, match=r"HTTP 503.*it is asked again"):
            await sent(other)


REVOKED = Failure(FailureKind.AUTH, "revoked", status=401)


async def test_a_refused_token_is_renewed_once_and_not_while_it_is_new(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    async with client() as control:
        signer = House(tmp_path, clock, control).signer(minimax(endpoint))
        headers = await signer.sign(REQUEST)
        assert not signer.refused(headers, REVOKED), "it was fetched a moment ago"
        clock.now += 60
        assert not signer.refused(headers, replace(REVOKED, status=403)), "that is about what the account may do"
        assert signer.refused(headers, REVOKED)
        assert await sent(signer) == "ya29.t2"
        assert signer.refused(headers, REVOKED), "others have that one no more: there is a newer"
        assert await sent(signer) == "ya29.t2"


class Reloading:
    """A client during whose call the configuration that it was for is let go of."""

    def __init__(self, control: ControlClient) -> None:
        self._control = control
        self.known: Iterable[Secret] = ()
        self.has_come = asyncio.Event()
        self.may_go = asyncio.Event()

    async def send(self, request: HttpRequest, *, timeout_seconds: float) -> ControlReply:
        reply = await self._control.send(request, timeout_seconds=timeout_seconds)
        self.has_come.set()
        await self.may_go.wait()
        for secret in self.known:
            secret.wipe()
        return reply


async def test_a_new_refresh_token_is_kept_although_a_reload_has_wiped_the_old_one_meanwhile(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    async with client() as control:
        reloading = Reloading(control)
        house = House(tmp_path, clock, reloading)  # pyright: ignore[reportArgumentType]
        signer = house.signer(minimax(endpoint))
        reloading.known = signer.secrets
        asking = asyncio.create_task(sent(signer))
        await reloading.has_come.wait()
        finishing = asyncio.create_task(house.logins.finish())
        await asyncio.sleep(0)
        assert not finishing.done(), "nothing is closed while the only refresh token is on its way"
        reloading.may_go.set()
        await finishing
        assert await asking == "ya29.t1"
    kept = Vault(tmp_path / "data", {}).read("minimax")
    assert kept is not None and kept.refresh == "refresh-1"


async def test_all_tokens_of_a_login_are_learned(tmp_path: Path, clock: Clock, endpoint: TokenEndpoint) -> None:
    learned: set[str] = set()
    async with client() as control:
        signer = House(tmp_path, clock, control).signer(minimax(endpoint))
        assert [secret.reveal() for secret in signer.secrets] == [REFRESH]
        signer.watch(lambda secret: learned.add(secret.reveal()))
        await sent(signer)
    assert learned == {"ya29.t1", "refresh-1"}


async def test_tokens_serve_where_nothing_can_be_written(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_text("in the way")
    async with client() as control:
        signer = House(tmp_path, clock, control).signer(minimax(endpoint))
        assert await sent(signer) == "ya29.t1"
        clock.now += HOUR
        assert await sent(signer) == "ya29.t2"
    assert [form["refresh_token"] for form in endpoint.asked] == [REFRESH, "refresh-1"]
    assert "its new refresh token is lost with this process" in caplog.text
    assert "refresh-1" not in caplog.text


async def test_after_a_reload_a_refresh_token_that_could_not_be_written_down_is_still_known(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    (tmp_path / "data").write_text("in the way")
    async with client() as control:
        before = House(tmp_path, clock, control)
        await sent(before.signer(minimax(endpoint)))
        after = House(tmp_path, clock, control)
        after.logins = Logins({}, tmp_path / "data", lambda: control, clock=clock, before=before.logins)
        clock.now += HOUR
        assert await sent(after.signer(minimax(endpoint))) == "ya29.t2"
    assert [form["refresh_token"] for form in endpoint.asked] == [REFRESH, "refresh-1"]


# Files of other programs.


def gemini_file(path: Path, clock: Clock, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    creds = {"access_token": "ya29.of-the-cli", "refresh_token": "1//cli", "expiry_date": (clock.now + HOUR) * 1000}
    path.write_text(json.dumps(creds | more))
    return path


GEMINI = place(LoginKind.GEMINI_CLI, provider="gemini-cli")


async def test_the_token_of_the_gemini_cli_serves_as_long_as_it_is_good(tmp_path: Path, clock: Clock) -> None:
    gemini_file(tmp_path / ".gemini/oauth_creds.json", clock)
    async with client() as control:
        signer = House(tmp_path, clock, control).signer({}, GEMINI)
        assert await sent(signer) == "ya29.of-the-cli"
        clock.now += HOUR
        gemini_file(tmp_path / ".gemini/oauth_creds.json", clock, access_token="ya29.renewed-by-the-cli")
        assert await sent(signer) == "ya29.renewed-by-the-cli"
        clock.now += HOUR
        with pytest.raises(CredentialUnavailable, match=r"has ended; run `gemini` .*gemini-cli\.login\.client_id"):
            await sent(signer)


async def test_it_is_renewed_here_with_the_client_that_the_file_names(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    endpoint.extra = {}
    file = gemini_file(tmp_path / "creds.json", clock, expiry_date=(clock.now - 1) * 1000)
    before = file.read_bytes()
    said = {"file": str(file), "client_id": "c1", "client_secret": "GOCSPX-s", "token_url": endpoint.url + "/token"}
    async with client() as control:
        assert await sent(House(tmp_path, clock, control).signer(said, GEMINI)) == "ya29.t1"
    assert endpoint.asked == [
        {"grant_type": "refresh_token", "refresh_token": "1//cli", "client_id": "c1", "client_secret": "GOCSPX-s"}
    ]
    assert file.read_bytes() == before, "it belongs to another program"
    assert not file_of(tmp_path, "gemini-cli").exists(), "the refresh token is where it was"


def codex_file(path: Path, clock: Clock, refresh: str = "codex-refresh") -> Path:
    claims = {"exp": clock.now + HOUR, "https://api.openai.com/auth": {"chatgpt_account_id": "acc-1"}}
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"tokens": {"access_token": f"eyJh.{part}.sig", "refresh_token": refresh}}))
    return path


CODEX = place(LoginKind.CODEX, provider="openai-codex")


async def test_codex_is_called_for_the_account_of_its_login(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    codex_file(tmp_path / "home/auth.json", clock)
    async with client() as control:
        house = House(tmp_path, clock, control, {"CODEX_HOME": str(tmp_path / "home")})
        signer = house.signer({"token_url": endpoint.url + "/token"}, CODEX)
        headers = dict(await signer.sign(REQUEST))
        assert headers["authorization"].startswith("Bearer eyJh.")
        assert headers["chatgpt-account-id"] == "acc-1"
        clock.now += HOUR
        assert dict(await signer.sign(REQUEST)) == {"authorization": "Bearer ya29.t1", "chatgpt-account-id": "acc-1"}
        assert file_of(tmp_path, "openai-codex").exists(), "the vendor has replaced the refresh token"
        codex_file(tmp_path / "home/auth.json", clock, refresh="a-login-since")
        clock.now += HOUR
        await signer.sign(REQUEST)
    assert [form["refresh_token"] for form in endpoint.asked] == ["codex-refresh", "a-login-since"]


async def test_a_refresh_token_that_was_replaced_is_not_used_again_although_the_first_access_token_should_live_longer(
    tmp_path: Path, clock: Clock, endpoint: TokenEndpoint
) -> None:
    clock.now += 9 * HOUR
    file = codex_file(tmp_path / "auth.json", clock)
    clock.now -= 9 * HOUR
    async with client() as control:
        said = {"file": str(file), "token_url": endpoint.url + "/token"}
        signer = House(tmp_path, clock, control).signer(said, CODEX)
        assert signer.refused(await signer.sign(REQUEST), REVOKED), "it was revoked before its end"
        assert await sent(signer) == "ya29.t1"
        clock.now += HOUR
        assert await sent(signer) == "ya29.t2"
    assert [form["refresh_token"] for form in endpoint.asked] == ["codex-refresh", "refresh-1"]


async def test_a_login_that_has_ended_says_which_command_makes_another(tmp_path: Path, clock: Clock) -> None:
    codex_file(tmp_path / ".codex/auth.json", clock)
    clock.now += HOUR
    with serving(TokenEndpoint(refusal=REFUSED)) as endpoint:
        async with client() as control:
            signer = House(tmp_path, clock, control).signer({"token_url": endpoint.url + "/token"}, CODEX)
            with pytest.raises(CredentialUnavailable, match=r"invalid_grant.*run `codex login`"):
                await sent(signer)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"tokens": null}', '{"tokens": {"access_token": 5}}'])
async def test_a_file_without_a_login_says_so(content: str | None, tmp_path: Path, clock: Clock) -> None:
    if content is not None:
        (tmp_path / "auth.json").write_text(content)
    async with client() as control:
        signer = House(tmp_path, clock, control).signer({"file": "~/auth.json"}, CODEX)
        with pytest.raises(CredentialUnavailable, match=r"auth\.json .*run `codex login`"):
            await sent(signer)


# Who asked for it.


def test_logins_of_other_programs_are_used_only_if_the_file_names_the_provider(tmp_path: Path, clock: Clock) -> None:
    gemini_file(tmp_path / ".gemini/oauth_creds.json", clock)
    codex_file(tmp_path / ".codex/auth.json", clock)
    logins = Logins({"HOME": str(tmp_path)}, tmp_path / "data")
    for where in (GEMINI, CODEX):
        assert logins.signer(where, None, is_named=False) is None
        assert logins.signer(where, None, is_named=True) is not None


def test_a_profile_uses_a_file_of_its_own(tmp_path: Path) -> None:
    logins = Logins({"HOME": str(tmp_path), "MINIMAX_OAUTH_REFRESH_TOKEN": REFRESH}, tmp_path / "data")
    with pytest.raises(CredentialUnavailable, match=r"providers\.gemini-cli\.profiles\.work\.login\.file is missing"):
        logins.signer(place(LoginKind.GEMINI_CLI, "work", "gemini-cli"), LoginRow(), is_named=True)
    assert logins.signer(place(profile="work"), LoginRow(), is_named=True) is None, "the variable is not the profile's"
