"""What becomes of news about keys and deployments: they are counted, and operators and other replicas hear of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from adapters.failures import Failure, FailureKind
from gateway.credentials.keyring import Key, KeyBook, KeyState
from gateway.health.vitals import Vitals
from gateway.registry.routes import fingerprint_of
from gateway.resilience.consequences import Event, Turn
from gateway.routing.deployment import Deployment
from gateway.state.base import Apply, CoolDown
from gateway.telemetry.access_log import clean
from gateway.telemetry.live import Resting
from gateway.telemetry.metrics import Metrics

_QUIET_SECONDS: Final = 10.0
"""The same line is written at most so often."""
_MOST: Final = 1_000
"""Things that are remembered of each kind: some are named by clients."""
_SOMEBODY: Final = "other"
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{16}")
_GUESSES: Final = frozenset({FailureKind.AUTH, FailureKind.QUOTA})
"""Kinds after which a key rests by judgement; what replicas share of other kinds was asked for by the upstream."""
_log = logging.getLogger("anyport")


class Replicas(Protocol):
    """The part of a `State` that is about pauses."""

    def publish(self, cool_down: CoolDown) -> None:
        """Tells the other replicas."""
        ...

    def subscribe(self, apply: Apply) -> None:
        """Has `apply` called with what they tell."""
        ...


class Follower(Protocol):
    """Hears what News hears; must not raise."""

    def hear(self, event: Event) -> None:
        """Takes what an attempt has led to."""
        ...

    def hear_replica(self, told: CoolDown, owner: str, *, is_told: bool) -> None:
        """Takes what another replica tells of a key or deployment of a provider."""
        ...


class News:
    """Hears what attempts did to keys and deployments, and what other replicas tell."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        state: Replicas,
        keys: KeyBook,
        states_of: Callable[[str], Sequence[Vitals]],
        deployments: Sequence[Deployment],
        owners: Mapping[str, str],
        clock: Callable[[], float],
        ejected: Callable[[Deployment], None],
    ) -> None:
        """`deployments` are those of the file, `owners` the provider of each key's fingerprint.

        `states_of` finds the live states of a deployment by its fingerprint; `ejected` is told of every ejection.
        """
        self._metrics = metrics
        self._state = state
        self._keys = keys
        self._states_of = states_of
        self._owners = owners
        self._clock = clock
        self._tell_ejected = ejected
        self._of_file = frozenset(deployment.id for deployment in deployments)
        self._deployments = {fingerprint_of(deployment): deployment for deployment in deployments}
        self._resting: dict[str, tuple[str, KeyState]] = {}
        self._ejected: dict[str, Deployment] = {}
        self._said_at: dict[tuple[str, str, str], float] = {}
        self._followers: list[Follower] = []
        state.subscribe(self.apply)

    def follow(self, follower: Follower) -> None:
        """Tells somebody else, too, what this process finds out and what other replicas tell."""
        self._followers.append(follower)

    def inherit(self, before: News) -> None:
        """Takes over what rests and what was said; of deployments only those that the file still has, or never had."""
        self._resting = dict(before._resting)
        self._said_at = dict(before._said_at)
        gone = before._of_file - self._of_file
        ejected = {name: each for name, each in before._ejected.items() if each.id not in gone}
        # With the keys of now: those of the configuration before are wiped.
        ours = {name: self._deployments[name] for name in ejected if name in self._deployments}
        self._ejected = ejected | ours
        for deployment in ours.values():
            self._tell_ejected(deployment)

    def hear(self, events: Iterable[Event]) -> None:
        """Takes what an attempt has led to; never raises."""
        for event in events:
            for follower in self._followers:
                follower.hear(event)
            match event.turn:
                case Turn.KEY_COOLED:
                    self._key_cooled(event)
                case Turn.DEPLOYMENT_COOLED:
                    self._deployment_cooled(event)
                case Turn.EJECTED:
                    self._was_ejected(event)
                case Turn.READMITTED:
                    self._was_readmitted(event)

    def apply(self, told: CoolDown) -> None:
        """Takes what another replica tells."""
        is_told = told.reason not in _GUESSES
        now = self._clock()
        reason = told.reason.value
        if told.scope == "key":
            # A key that was not used with this model here has no state yet, and may be asked for next.
            state = self._keys(told.id) if _FINGERPRINT.fullmatch(told.id) else None
            owner = self._owners.get(told.id, _SOMEBODY)
            if state is not None:
                failure = Failure(told.reason, "another replica was told so")
                state.cool(told.seconds, now, is_told=is_told, failure=failure)
                self._remember(state, owner)
        else:
            owner = self._deployments[told.id].provider if told.id in self._deployments else _SOMEBODY
            for vitals in self._states_of(told.id):
                vitals.cool(told.seconds, now, is_told=is_told, reason=reason)
        self._metrics.cooled(owner, told.scope, reason)
        for follower in self._followers:
            follower.hear_replica(told, owner, is_told=is_told)
        _log.debug(
            "another replica says that a %s of %s rests for %.3g s (%s)", told.scope, owner, told.seconds, reason
        )

    def resting(self) -> Resting:
        """Returns what rests at this moment."""
        self._forget()
        return Resting(
            ejected=[(deployment.provider, deployment.id) for deployment in self._ejected.values()],
            keys=[owner for owner, _ in self._resting.values()],
        )

    def _key_cooled(self, event: Event) -> None:
        deployment, key, state = event.deployment, event.key, event.state
        self._metrics.cooled(deployment.provider, "key", event.reason)
        if key is None or state is None:
            return
        self._remember(state, deployment.provider)
        if event.is_told or event.needs_attention:
            self._state.publish(CoolDown("key", state.fingerprint, event.seconds, FailureKind(event.reason)))
        if event.needs_attention:
            self._say(logging.WARNING, event, _put_aside(event, key), str(key.number))
        else:
            _log.debug("%s: %s rests for %.3g s (%s)", deployment.id, _which(event, key), event.seconds, event.reason)

    def _deployment_cooled(self, event: Event) -> None:
        deployment = event.deployment
        self._metrics.cooled(deployment.provider, "deployment", event.reason)
        if event.is_told:
            told = CoolDown("deployment", fingerprint_of(deployment), event.seconds, FailureKind(event.reason))
            self._state.publish(told)
        if event.reason == FailureKind.MODEL_MISSING and deployment.id in self._of_file:
            words = f"its provider has no such model; it gets no requests for {_words(event.seconds)}"
            self._say(logging.WARNING, event, f"{words} where others can take them. Mend its `model` in the file")
        else:
            _log.debug("%s rests for %.3g s (%s)", deployment.id, event.seconds, event.reason)

    def _was_ejected(self, event: Event) -> None:
        deployment = event.deployment
        self._metrics.ejected(deployment.provider, deployment.id, event.reason)
        if len(self._ejected) >= _MOST:
            self._forget()
        if len(self._ejected) < _MOST:
            self._ejected[fingerprint_of(deployment)] = deployment
        self._tell_ejected(deployment)
        seconds = _words(event.seconds)
        text = f"it keeps failing ({event.reason}) and gets no requests for {seconds} where others can take them"
        self._say(logging.WARNING, event, text)

    def _was_readmitted(self, event: Event) -> None:
        deployment = event.deployment
        self._metrics.readmitted(deployment.provider, deployment.id)
        self._ejected.pop(fingerprint_of(deployment), None)
        self._say(logging.INFO, event, "it works again")

    def _remember(self, state: KeyState, owner: str) -> None:
        if len(self._resting) >= _MOST:
            self._forget()
        if len(self._resting) < _MOST:
            self._resting[state.fingerprint] = (owner, state)

    def _forget(self) -> None:
        """Forgets what rests no more."""
        now = self._clock()
        self._resting = {id: each for id, each in self._resting.items() if each[1].cooling_until > now}
        self._ejected = {id: each for id, each in self._ejected.items() if each.vitals.is_half_open}

    def _say(self, level: int, event: Event, text: str, of: str = "") -> None:
        """Writes one line, unless one about the same was written a moment ago."""
        now = self._clock()
        deployment = event.deployment
        # What clients make up names for is one thing: their provider.
        name = deployment.id if deployment.id in self._of_file else deployment.provider
        about = (name, event.turn + event.reason, of)
        if now < self._said_at.get(about, now - _QUIET_SECONDS) + _QUIET_SECONDS:
            return
        if len(self._said_at) >= _MOST:
            self._said_at = {each: at for each, at in self._said_at.items() if now < at + _QUIET_SECONDS}
        if len(self._said_at) < _MOST:
            self._said_at[about] = now
            _log.log(level, "%s: %s", clean(deployment.id), text)


def _put_aside(event: Event, key: Key) -> str:
    """Says why a key gets no requests, and what an operator can do about it."""
    which = _which(event, key)
    seconds = _words(event.seconds)
    if event.reason == FailureKind.QUOTA:
        return f"{which} has no money or quota left (quota) and is put aside for {seconds}; top up its account"
    id = event.deployment.key_ring.spec.id
    test = f"; `anyport providers check {id}` tests it" if "://" not in id else ""
    return f"{which} is refused ({event.reason}) and is put aside for {seconds}; look whether it still holds{test}"


def _which(event: Event, key: Key) -> str:
    ring = event.deployment.key_ring
    if ring.signer is not None:
        return "its credential"
    return f"key {key.number} of {len(ring.keys)}" if key.secret is not None else "a request without a key"


def _words(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:.3g} s"
