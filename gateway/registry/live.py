"""The live state of deployments and routes. It outlives a configuration: what did not change is not forgotten."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final

from gateway.health.vitals import Capacity, HealthPolicy, Vitals
from gateway.routing.route import Memory

MOST_SINGLES: Final = 20_000
"""Deployments that clients have named and whose state is kept: names come from clients, so they are bounded."""
Key = tuple[Hashable, ...]


class LiveStates:
    """Vitals by what makes a deployment the same, memories by route.

    A new configuration is built beside the event loop: every step here leaves something that both can read.
    """

    def __init__(self) -> None:
        self._vitals: dict[Key, Vitals] = {}
        self._by_fingerprint: dict[str, list[Vitals]] = {}
        self._memories: dict[tuple[str, str], Memory] = {}
        self._asked: set[Hashable] = set()
        """Of both kinds, those that were asked for since the last `turn`."""

    def vitals(self, key: Key, policy: HealthPolicy, capacity: Capacity, fingerprint: Callable[[], str]) -> Vitals:
        """Returns the state of a deployment, a new one at first sight; replicas know it by `fingerprint`."""
        self._asked.add(key)
        found = self._vitals.get(key)
        if found is not None:
            return found
        if len(self._vitals) >= MOST_SINGLES:
            telling = [(name, each) for name, each in list(self._vitals.items()) if not each.is_at_rest]
            self._keep(dict(telling[-(MOST_SINGLES // 2) :]))
        made = Vitals(policy, capacity)
        found = self._vitals.setdefault(key, made)
        if found is made:
            self._by_fingerprint.setdefault(fingerprint(), []).append(made)
        return found

    def memory(self, name: str, star: str) -> Memory:
        """Returns what a route remembers."""
        if len(self._memories) >= MOST_SINGLES:
            # What clients have put in for a `*` is forgotten; what the file names is not.
            self._memories = {key: memory for key, memory in self._memories.items() if not key[1]}
        self._asked.add((name, star))
        return self._memories.setdefault((name, star), Memory())

    def all(self) -> list[Vitals]:
        """Returns the state of every deployment that was asked for."""
        return list(self._vitals.values())

    def find(self, fingerprint: str) -> Sequence[Vitals]:
        """Returns the states of a deployment by what names it among replicas."""
        return self._by_fingerprint.get(fingerprint, ())

    def turn(self, policy: HealthPolicy) -> None:
        """Begins with another configuration: `policy` counts for all, and what nobody uses any more is forgotten."""
        asked, self._asked = self._asked, set()
        for vitals in self._vitals.values():
            vitals.policy = policy
        self._keep({key: each for key, each in self._vitals.items() if key in asked or not each.is_at_rest})
        self._memories = {name: each for name, each in self._memories.items() if name in asked}

    def _keep(self, kept: dict[Key, Vitals]) -> None:
        self._vitals = kept
        ids = set(map(id, kept.values()))
        left = ((name, [each for each in states if id(each) in ids]) for name, states in self._by_fingerprint.items())
        self._by_fingerprint = {name: states for name, states in left if states}
