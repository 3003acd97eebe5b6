"""What a provider's headers teach about a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.allowances import allowance
from gateway.credentials.keyring import KeyState

_MOST_SECONDS: Final = 60.0
"""A forecast further ahead is not worth leaving a key alone for."""


def learn(state: KeyState, headers: Mapping[str, str], now: float) -> None:
    """Notes what the headers of a response say about its key at monotonic time `now`."""
    told = allowance(headers)
    if told is not None:
        state.left = told.left
        state.exhausted_until = now + min(told.empty_seconds, _MOST_SECONDS) if told.empty_seconds else 0.0
