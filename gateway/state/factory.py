"""The state, and who counts limits, that the configuration asks for."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Collection
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from gateway.errors import ConfigError, Fault
from gateway.state.address import Address, read_address
from gateway.state.admission import Admissions, Kind
from gateway.state.base import State
from gateway.state.counters import Counters
from gateway.state.lane import DEFAULT_PACE, Pace
from gateway.state.memory import MemoryState
from gateway.state.redis import DEFAULT_PATIENCE, Client, Patience, RedisState
from gateway.state.scripts import Scripts
from gateway.state.shared import LEASE_SECONDS, LEDGER_SECONDS, PLACE_SECONDS, SharedCounters


def open_state(url: str, *, patience: Patience = DEFAULT_PATIENCE) -> State:
    """Returns what `state.url` names, not started; raises ConfigError. A password in the URL is shown nowhere."""
    address = _address(url)
    if address is None:
        return MemoryState()
    return RedisState(
        connector(address, patience),
        address,
        replica=secrets.token_hex(8),
        clock=time.monotonic,
        jitter=random.random,
        patience=patience,
    )


def open_admissions(
    url: str,
    *,
    closed: Collection[Kind] = (),
    pace: Pace = DEFAULT_PACE,
    place_seconds: float = PLACE_SECONDS,
    lease_seconds: float = LEASE_SECONDS,
    ledger_seconds: float = LEDGER_SECONDS,
) -> Admissions:
    """Returns who counts limits at `state.url`, not started; raises ConfigError as `open_state` does.

    Checks of `closed` kinds refuse while the server is away, instead of going by this replica's own picture.
    """
    address = _address(url)
    if address is None:
        return Counters(time.monotonic)
    return SharedCounters(
        connector(address, Patience(answer_seconds=pace.connect_seconds)),
        f"redis at {address.place}",
        scripts=Scripts(replica=secrets.token_hex(8), place_seconds=place_seconds, lease_seconds=lease_seconds),
        clock=time.monotonic,
        closed=closed,
        pace=pace,
        place_seconds=place_seconds,
        ledger_seconds=ledger_seconds,
    )


def _address(url: str) -> Address | None:
    """Returns where the server is, None if there is none."""
    if url == "memory://":
        return None
    try:
        address = read_address(url)
    except ValueError as error:
        raise _fault(str(error)) from None
    if find_spec("redis") is None:
        raise _fault("needs the package redis: run `pip install -e '.[redis]'` in Anyport's folder")
    return address


def connector(address: Address, patience: Patience) -> Callable[[], Client]:
    """Returns what makes a client, which connects at its first command and gives up at its first failure."""
    # Imported here, since that takes a tenth of a second, which only who wants it should wait, and before the first
    # request. Types differ from version to version: see `Client`.
    package: Any = import_module("redis.asyncio")
    retry: Any = import_module("redis.asyncio.retry")
    backoff: Any = import_module("redis.backoff")

    def connect() -> Client:  # not a `partial`, which shows the URL to whoever prints it
        return package.Redis.from_url(
            address.url,
            socket_connect_timeout=patience.answer_seconds,
            socket_timeout=patience.answer_seconds,
            # It would connect again by itself and hide that messages were missed: no error is one to try again after.
            retry=retry.Retry(backoff.NoBackoff(), 0, ()),
            protocol=2,  # the older protocol of the two has no messages but those that were subscribed to
        )

    return connect


def _fault(message: str) -> ConfigError:
    return ConfigError([Fault("anyport.yaml", 0, 0, "state.url", message)])
