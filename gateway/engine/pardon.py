"""What an operator does who knows better: whatever keeps requests from a deployment ends, told or guessed."""

from __future__ import annotations

from gateway.credentials.keyring import KeyState
from gateway.routing.deployment import Deployment


def pardon(deployment: Deployment) -> list[str]:
    """Ends the rest of a deployment and of its keys with its model; returns what has ended."""
    vitals = deployment.vitals
    ended: list[str] = []
    if vitals.cooling_until:
        ended.append("pause")
    if vitals.is_half_open:
        ended.append("ejection")
        vitals.readmit()
    vitals.cooling_until, vitals.is_told, vitals.strikes = 0.0, False, 0
    for key in deployment.key_ring.keys:
        if key.state.cooling_until or key.account.cooling_until or key.state.exhausted_until:
            ended.append(f"key {key.number}")
        for state in {id(each): each for each in (key.account, key.state)}.values():
            _pardon_key(state)
    return ended


def _pardon_key(state: KeyState) -> None:
    state.cooling_until = state.exhausted_until = 0.0
    state.is_told, state.strikes, state.last_failure = False, 0, None
