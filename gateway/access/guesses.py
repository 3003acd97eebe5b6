"""Wrong keys by address: a few are answered, more are told to wait.

Theory. A key that we gave out cannot be guessed, but one of the file may be somebody's pet's name, and whoever tries
names should not get far unnoticed. A right key passes whatever its address has tried before: behind a proxy all clients
have one address, and a client with a wrong key must not shut out the others. So a guesser who is right learns it, at
any speed; what helps against guessing are long keys.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_ADDRESSES: Final = 10_000
"""Addresses that are remembered; those that have tried nothing for longest are forgotten first."""
_IPV6_NETWORK: Final = 64
"""Bits of an IPv6 address that its user cannot choose."""
_MINUTE: Final = 60.0
_QUIET_SECONDS: Final = 60.0
"""Between two lines of the log, whatever the addresses."""

_log = logging.getLogger("anyport.access")


class Guesses:
    """Counts wrong keys, so many per minute and address."""

    def __init__(self, per_minute: int | None, *, clock: Callable[[], float]) -> None:
        """None counts nothing; `clock` gives monotonic seconds."""
        self.per_minute = per_minute
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """By address, when it may try as many as at first again."""
        self._quiet_until = float("-inf")

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, address: str) -> float:
        """Counts one wrong key; returns 0.0 if it is to be answered, else the seconds until another one would be."""
        if self.per_minute is None:
            return 0.0
        now, cost = self._clock(), _MINUTE / self.per_minute
        name = _network(address)
        full_at = max(now, self._full_at.pop(name, now)) + cost
        too_early = full_at - now - _MINUTE
        # A millionth of a second is rounding, not haste.
        is_refused = too_early > 1e-6
        self._full_at[name] = full_at - cost if is_refused else full_at
        if len(self._full_at) > MAX_ADDRESSES:
            self._full_at.popitem(last=False)
        if is_refused:
            self._say(name, now)
        return too_early if is_refused else 0.0

    def _say(self, name: str, now: float) -> None:
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            said = "%s tries more than %s unknown API keys per minute (server.bad_keys_per_minute)"
            _log.warning(f"{said}; a client there may have an old key, or somebody guesses", name, self.per_minute)


def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        known = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.IPv6Network((known, _IPV6_NETWORK), strict=False))
