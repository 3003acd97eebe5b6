"""The live state of one deployment: is it ejected, cooling, full; may its failures cause retries.

Theory. Failures that speak against a deployment (not against a request or a key) are counted. So many in a row, or so
large a share of the last ten seconds, eject it: it gets no requests for a while, each time twice as long up to a cap.
Then it is half open: one request goes through, and its end decides. An ejection is a guess of ours and gives way where
nothing else is left; a pause that the upstream itself has asked for is an order and gives way to nothing.

A retry costs the upstream what a request costs. When everything fails, retries are what turns trouble into collapse, so
a deployment's failures may only cause retries for a share of its first attempts, and a few a second in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.health.bucket import Bucket
from gateway.health.counts import WINDOW_SECONDS, RecentCounts
from gateway.health.doubt import Doubt
from gateway.health.latency import Latency

KNOCK_SECONDS: Final = 1.0
"""How often a sole deployment that cannot be reached is tried all the same."""


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When a deployment is ejected and for how long; `settings.HealthSettings` documents each."""

    consecutive_failures: int = 5
    failure_ratio: float = 0.5
    min_attempts: int = 20
    ejection_seconds: float = 1.0
    max_ejection_seconds: float = 8.0
    max_ejected_share: float = 0.7


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a deployment is given at most; None limits nothing."""

    max_in_flight: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def is_unlimited(self) -> bool:
        """True if nothing is limited."""
        return self.max_in_flight is None and self.requests_per_minute is None and self.tokens_per_minute is None


NO_LIMITS: Final = Capacity()


class Obstacle(StrEnum):
    """Why a deployment is not to be called now."""

    EJECTED = "ejected"
    """A guess of ours, after failures."""
    PUT_ASIDE = "put aside"
    """A guess of ours, after one failure that will not pass soon."""
    COOLING = "cooling down"
    """It asked for a pause."""
    BUSY = "max_in_flight"
    RATE = "requests_per_minute"
    TOKENS = "tokens_per_minute"
    UNREACHABLE = "unreachable"
    """It is the only one, and no connection comes about."""


GUESSES: Final = frozenset({Obstacle.EJECTED, Obstacle.PUT_ASIDE})
"""Obstacles that give way where nothing else is left."""


class Vitals:
    """One deployment's state. Whoever calls `begin` calls `end` exactly once, whatever happens."""

    __slots__ = (
        "_ejections",
        "_knocked_at",
        "_limits",
        "_probe_until",
        "_rate",
        "_tokens",
        "_unsent",
        "consecutive",
        "cooled_at",
        "cooling_until",
        "counts",
        "doubt",
        "ejected_at",
        "ejected_until",
        "in_flight",
        "is_told",
        "latency",
        "policy",
        "reason",
        "strikes",
    )

    def __init__(self, policy: HealthPolicy, limits: Capacity = NO_LIMITS) -> None:
        self.policy = policy
        self.counts = RecentCounts()
        self.latency = Latency()
        self.doubt = Doubt()
        self.in_flight = 0
        self.consecutive = 0
        self.ejected_until: float | None = None
        """Until then it gets no request; None if it is not ejected. Past it, it is half open."""
        self.ejected_at = 0.0
        """When the last ejection began: how an attempt from before it ends says nothing about what came after."""
        self.cooling_until = 0.0
        self.cooled_at = 0.0
        """When the last pause began."""
        self.is_told = False
        """Whether the upstream itself asked for the pause."""
        self.reason = ""
        """The kind of failure that the pause, or else the last ejection, comes from."""
        self.strikes = 0
        """Pauses in a row, for those whose length is ours to choose."""
        self._ejections = 0
        self._probe_until = 0.0
        """Until then a probe is out; one that hangs is not waited for any longer."""
        self._unsent = 0
        self._knocked_at: float | None = None
        self._limits = None if limits.is_unlimited else limits
        self._rate = Bucket(limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = Bucket(limits.tokens_per_minute) if limits.tokens_per_minute else None

    # Questions.

    def obstacle(self, now: float, tokens: int = 0) -> Obstacle | None:
        """Returns why it should not be called now, None if it may be; the weightiest reason first."""
        if self.cooling_until > now:
            return Obstacle.COOLING if self.is_told else Obstacle.PUT_ASIDE
        if self._limits is not None and (full := self._is_full(self._limits, now, tokens)):
            return full
        if self.ejected_until is not None and (now < max(self.ejected_until, self._probe_until)):
            return Obstacle.EJECTED
        return None

    def wait(self, now: float, tokens: int = 0) -> float:
        """Returns the seconds until `obstacle` may say something else; 0 if there is none or nobody knows."""
        return max(self.cooling_until - now, self._full_for(now, tokens))

    def next_try(self, now: float, tokens: int = 0) -> float:
        """Returns the seconds until it may be tried where nothing else is left: a pause of our own is no obstacle."""
        return max(self.cooling_until - now if self.is_told else 0.0, self._full_for(now, tokens))

    def _full_for(self, now: float, tokens: int) -> float:
        waits = [0.0]
        if self._rate is not None:
            waits.append(self._rate.wait(1, now))
        if self._tokens is not None:
            waits.append(self._tokens.wait(tokens, now))
        return max(waits)

    def is_unreachable(self, now: float) -> bool:
        """True if lately no connection came about, and somebody has just tried: the sole deployment's gate."""
        if self._unsent < self.policy.consecutive_failures:
            return False
        return self._knocked_at is not None and now < self._knocked_at + KNOCK_SECONDS

    def may_retry(self, now: float, share: float, floor_per_second: float) -> bool:
        """True if a failure here may cause one more attempt, here or elsewhere."""
        counts = self.counts
        counts.advance(now)
        return counts.retries + 1 <= max(share * counts.firsts, floor_per_second * WINDOW_SECONDS)

    @property
    def limits(self) -> Capacity:
        """What it is given at most."""
        return self._limits or NO_LIMITS

    @property
    def is_half_open(self) -> bool:
        """True if one request is out to see whether it works again, or may go out."""
        return self.ejected_until is not None

    @property
    def is_at_rest(self) -> bool:
        """True if nothing is under way and nothing was held against it: forgetting it loses nothing."""
        return not (self.in_flight or self.consecutive or self.strikes or self.is_half_open)

    # News.

    def begin(self, now: float, *, is_first: bool, tokens: int = 0) -> bool:
        """Notes the beginning of an attempt; returns whether it is the one that a half-open deployment gets."""
        self.in_flight += 1
        if is_first:
            self.counts.begun(now)
        if self._rate is not None:
            self._rate.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)
        if self._unsent:
            self._knocked_at = now
        is_probe = self.ejected_until is not None and now >= max(self.ejected_until, self._probe_until)
        if is_probe:
            self._probe_until = now + self.policy.max_ejection_seconds
        return is_probe

    def end(self, *, is_probe: bool = False) -> None:
        """Notes the end of an attempt, of any kind; `is_probe` is what `begin` returned."""
        self.in_flight -= 1
        if is_probe:
            self._probe_until = 0.0

    def spent(self, tokens: int, now: float) -> None:
        """Corrects the tokens that `begin` took by what came of it."""
        if self._tokens is not None:
            self._tokens.take(tokens, now)

    def succeeded(self, now: float) -> None:
        """Notes an attempt that ended well."""
        self.counts.ended(now, is_failure=False)
        self.consecutive = self._unsent = self.strikes = 0

    def readmit(self) -> None:
        """Ends an ejection; what led to it is forgotten, and whoever probes is only one of many."""
        self.ejected_until = None
        self._probe_until = 0.0
        self._ejections = self.consecutive = self._unsent = 0
        self.counts.forget_ends()

    def failed(self, now: float, *, began: float, is_unsent: bool, reason: str) -> float:
        """Notes a failure that speaks against it; returns for how many seconds that ejects it, 0 if it does not."""
        self.counts.ended(now, is_failure=True)
        self.consecutive += 1
        self._unsent = self._unsent + 1 if is_unsent else 0
        if self._unsent:
            self._knocked_at = now
        if self.ejected_until is not None and (now < self.ejected_until or began < self.ejected_at):
            return 0.0  # it was under way before the ejection, or went there in spite of it
        if self.ejected_until is None and not self._is_outlier():
            return 0.0
        seconds = min(self.policy.ejection_seconds * 2**self._ejections, self.policy.max_ejection_seconds)
        self._ejections = min(self._ejections + 1, 30)
        self.ejected_at = now
        self.ejected_until = now + seconds
        self.reason = reason
        return seconds

    def probed(self) -> None:
        """Notes that a free question was answered: the next request may see."""
        if self.ejected_until is not None:
            self.ejected_until = 0.0
        self._unsent = 0

    def cool(self, seconds: float, now: float, *, is_told: bool, reason: str) -> None:
        """Begins a pause; a longer one that was told stays."""
        until = now + seconds
        if self.is_told and not is_told and self.cooling_until > now:
            return
        if until > self.cooling_until or is_told:
            self.cooling_until = max(until, self.cooling_until) if is_told and self.is_told else until
            self.cooled_at = now
            self.is_told = is_told
            self.reason = reason

    def copy(self) -> Vitals:
        """Returns the same state, apart from this one."""
        twin = Vitals(self.policy)
        for name in Vitals.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.counts, twin.latency, twin.doubt = self.counts.copy(), self.latency.copy(), self.doubt.copy()
        twin._rate = self._rate.copy() if self._rate else None
        twin._tokens = self._tokens.copy() if self._tokens else None
        return twin

    def _is_full(self, limits: Capacity, now: float, tokens: int) -> Obstacle | None:
        if limits.max_in_flight is not None and self.in_flight >= limits.max_in_flight:
            return Obstacle.BUSY
        if self._rate is not None and self._rate.wait(1, now) > 0:
            return Obstacle.RATE
        if self._tokens is not None and self._tokens.wait(tokens, now) > 0:
            return Obstacle.TOKENS
        return None

    def _is_outlier(self) -> bool:
        policy, counts = self.policy, self.counts
        if self.consecutive >= policy.consecutive_failures:
            return True
        return counts.attempts >= policy.min_attempts and counts.failures >= policy.failure_ratio * counts.attempts
