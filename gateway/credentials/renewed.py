"""Credentials that run out: fetched one fetch at a time, before they are missed."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from gateway.credentials.errors import CredentialUnavailable
from gateway.secret import Secret, SecretWiped

Value = TypeVar("Value")
Clock = Callable[[], float]
"""Seconds since the epoch, as the ends of credentials are told."""

EARLY_SECONDS: Final = 300.0
"""How long before its end a token is renewed while requests still go out with the old one."""
EARLY_SHARE: Final = 0.2
"""The same for what is given out for minutes."""
MARGIN_SECONDS: Final = 10.0
"""A token this close to its end would run out on its way."""
JITTER_SHARE: Final = 0.05
"""Of the time until a renewal, by how much it may come sooner: replicas that began together do not ask together."""
MOST_JITTER_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 10.0
"""Between two renewals of what is still good: a metadata server gives out one token until shortly before its end."""
FETCH_SECONDS: Final = 30.0
"""How long a request waits for a credential, with all attempts to get it."""
CALL_SECONDS: Final = 8.0
"""Of one call to whoever gives credentials out; their libraries' own minutes would outlast the end of the process."""


@dataclass(frozen=True, slots=True)
class Lease(Generic[Value]):
    """A value with its end; times are seconds since the epoch."""

    value: Value
    secrets: tuple[Secret, ...]
    """What of it must never be shown."""
    renew_at: float
    ends_at: float
    is_new: bool = True
    """It was made for us just now, not found somewhere."""


def lease_until(ends_at: float, value: Value, secrets: tuple[Secret, ...]) -> Lease[Value]:
    """Returns a lease that is renewed a while before its end and not used in its last moments."""
    return Lease(value, secrets, ends_at - EARLY_SECONDS, ends_at - MARGIN_SECONDS)


Fetch = Callable[[Value | None], Awaitable[Lease[Value]]]
"""Gets a value; is told of one that was refused, and must not give that again. Raises `CredentialUnavailable`."""


def in_thread(fetch: Callable[[], Lease[Value]]) -> Fetch[Value]:
    """Returns what runs `fetch`, which may block, beside the event loop."""

    async def fetched(_refused: Value | None) -> Lease[Value]:
        return await asyncio.to_thread(fetch)

    return fetched


def renewal_of(now: float, ends_at: float) -> float:
    """Returns when what was given at `now` is to be renewed: a while before its end, less for what is short-lived."""
    return ends_at - min(EARLY_SECONDS, EARLY_SHARE * (ends_at - now))


@dataclass(slots=True)
class Renewed(Generic[Value]):
    """The newest value of `fetch`; never fetched unasked."""

    fetch: Fetch[Value] = field(repr=False)
    clock: Clock
    learn: Callable[[Secret], None] | None = None
    """Told of every secret that was fetched, before anybody can use it."""
    chance: Callable[[], float] = random.random
    """Numbers from 0 to 1."""
    _lease: Lease[Value] | None = field(default=None, repr=False)
    _refused: Value | None = field(default=None, repr=False)
    _renew_at: float = 0.0
    _landed_at: float = field(default=-math.inf)
    _flight: asyncio.Task[Lease[Value] | CredentialUnavailable] | None = field(default=None, repr=False)
    _not_before: float = 0.0

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets of the value that is held now."""
        return self._lease.secrets if self._lease else ()

    def refuse(self, is_it: Callable[[Value], bool]) -> bool:
        """Notes that the upstream refused a value; returns whether another one can be had in its place.

        One that was made a moment ago is no better the second time: then it is not the age that is wrong.
        """
        lease = self._lease
        if lease is None or not is_it(lease.value):
            return True
        if lease.is_new and self.clock() < self._landed_at + PAUSE_SECONDS:
            return False
        self._lease, self._refused = None, lease.value
        return True

    async def get(self) -> Value:
        """Returns a good value, waiting only if there is none; raises `CredentialUnavailable`."""
        now = self.clock()
        lease = self._lease
        if lease is not None and now < lease.ends_at:
            if now >= self._renew_at and now >= self._not_before and self._flight is None:
                self._take_off()
            return lease.value
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                # One request that goes away must not take the others' flight with it.
                landed = await asyncio.shield(self._flight or self._take_off())
        except TimeoutError:
            raise CredentialUnavailable(f"no credential came within {FETCH_SECONDS:g} s") from None
        if isinstance(landed, CredentialUnavailable):
            raise CredentialUnavailable(landed.message)
        return landed.value

    def _take_off(self) -> asyncio.Task[Lease[Value] | CredentialUnavailable]:
        self._flight = asyncio.create_task(self._fly(), name="credential")
        return self._flight

    async def _fly(self) -> Lease[Value] | CredentialUnavailable:
        try:
            lease = await self.fetch(self._refused)
            if self.learn is not None:
                for secret in lease.secrets:
                    self.learn(secret)
            self._hold(lease)
        except SecretWiped as error:
            return CredentialUnavailable(str(error))
        except CredentialUnavailable as error:
            return error  # a failure that nobody waits for is none: the old value is still good
        else:
            return lease
        finally:
            self._flight = None
            self._not_before = self.clock() + PAUSE_SECONDS

    def _hold(self, lease: Lease[Value]) -> None:
        now = self.clock()
        sooner = min(MOST_JITTER_SECONDS, JITTER_SHARE * max(0.0, lease.renew_at - now))
        self._lease, self._refused = lease, None
        self._landed_at, self._renew_at = now, lease.renew_at - self.chance() * sooner
