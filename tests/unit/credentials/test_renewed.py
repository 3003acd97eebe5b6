"""Credentials that run out: who waits, who does not, and how often somebody is asked."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from gateway.credentials.bearer import BearerSigner, Token
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.renewed import (
    EARLY_SECONDS,
    MARGIN_SECONDS,
    PAUSE_SECONDS,
    Lease,
    Renewed,
    in_thread,
    lease_until,
)
from gateway.secret import Secret

HOUR = 3600.0


@dataclass
class Source:
    """Gives out t1, t2, ... for an hour each, when its gate is open."""

    now: float = 1_000_000.0
    fetches: int = 0
    is_down: bool = False
    gate: threading.Event = field(default_factory=threading.Event)
    threads: set[int] = field(default_factory=set[int])

    def __post_init__(self) -> None:
        self.gate.set()

    def clock(self) -> float:
        return self.now

    def fetch(self) -> Lease[Token]:
        self.fetches += 1
        self.threads.add(threading.get_ident())
        number = self.fetches
        self.gate.wait(10)
        if self.is_down:
            raise CredentialUnavailable("the token endpoint is down; set KEY instead")
        secret = Secret(f"t{number}")
        return lease_until(self.now + HOUR, Token(secret), (secret,))


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def renewed(source: Source) -> Renewed[Token]:
    return Renewed(in_thread(source.fetch), source.clock, chance=lambda: 0.0)


async def held(renewed: Renewed[Token]) -> str:
    return (await renewed.get()).secret.reveal()


async def landed() -> None:
    """Waits for the fetches that are under way."""
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "credential"))


def test_nothing_is_fetched_before_somebody_asks(source: Source, renewed: Renewed[Token]) -> None:
    assert source.fetches == 0
    assert renewed.secrets == ()


async def test_one_token_serves_until_shortly_before_its_end(source: Source, renewed: Renewed[Token]) -> None:
    assert await held(renewed) == "t1"
    source.now += HOUR - EARLY_SECONDS - 1
    assert await held(renewed) == "t1"
    assert source.fetches == 1


async def test_fetching_does_not_hold_up_the_event_loop(source: Source, renewed: Renewed[Token]) -> None:
    await held(renewed)
    assert source.threads.isdisjoint({threading.get_ident()})


async def test_a_hundred_requests_at_once_make_one_fetch(source: Source, renewed: Renewed[Token]) -> None:
    source.gate.clear()
    waiting = [asyncio.create_task(held(renewed)) for _ in range(100)]
    await asyncio.sleep(0)
    source.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"t1"}
    assert source.fetches == 1


async def test_a_good_token_never_waits_for_the_next(source: Source, renewed: Renewed[Token]) -> None:
    await held(renewed)
    source.now += HOUR - EARLY_SECONDS
    source.gate.clear()
    assert [await held(renewed) for _ in range(50)] == ["t1"] * 50
    source.gate.set()
    await landed()
    assert await held(renewed) == "t2"
    assert source.fetches == 2


async def test_a_token_at_its_end_is_not_sent(source: Source, renewed: Renewed[Token]) -> None:
    await held(renewed)
    source.now += HOUR - MARGIN_SECONDS
    assert await held(renewed) == "t2"


async def test_a_failure_to_renew_hurts_nobody_while_the_old_token_is_good(
    source: Source, renewed: Renewed[Token]
) -> None:
    await held(renewed)
    source.is_down = True
    source.now += HOUR - EARLY_SECONDS
    assert await held(renewed) == "t1"
    await landed()
    assert [await held(renewed) for _ in range(20)] == ["t1"] * 20
    assert source.fetches == 2, "asked again at once"
    source.now += PAUSE_SECONDS
    assert await held(renewed) == "t1"
    await landed()
    assert source.fetches == 3


async def test_without_a_good_token_the_failure_is_told_to_everybody_who_waits(
    source: Source, renewed: Renewed[Token]
) -> None:
    source.is_down = True
    told = await asyncio.gather(*(held(renewed) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in told] == ["the token endpoint is down; set KEY instead"] * 3
    assert source.fetches == 1
    source.is_down = False
    assert await held(renewed) == "t2"


async def test_a_request_that_goes_away_leaves_the_fetch_to_the_others(source: Source, renewed: Renewed[Token]) -> None:
    source.gate.clear()
    first, second = asyncio.create_task(held(renewed)), asyncio.create_task(held(renewed))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.gate.set()
    assert await second == "t1"
    assert source.fetches == 1


async def test_a_fetched_secret_is_made_known_before_it_is_used(source: Source, renewed: Renewed[Token]) -> None:
    learned: list[str] = []
    signer = BearerSigner("test", renewed, (Secret("client-secret"),))
    signer.watch(lambda secret: learned.append(secret.reveal()))
    assert await held(renewed) == "t1"
    assert learned == ["t1"]
    assert signer.secrets == (Secret("client-secret"), Secret("t1"))


async def test_no_text_of_what_holds_a_token_shows_it(renewed: Renewed[Token]) -> None:
    signer = BearerSigner("test", renewed)
    await held(renewed)
    for shown in (repr(signer), str(signer), repr(renewed), repr(await renewed.get())):
        assert "t1" not in shown
