"""The keys of a deployment or provider: which one comes next, which one has to rest, and what is known of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from adapters.failures import Failure
from adapters.types import Headers, HttpRequest
from gateway.credentials.asked import Asked
from gateway.credentials.sign import Signer, auth_headers
from gateway.domain import AuthScheme, ProviderSpec
from gateway.health.doubt import Doubt
from gateway.secret import Secret

KNOCK_SECONDS: Final = 5.0
"""How often a key that was put aside by our own judgement is tried, where no other is left."""


class KeyState:
    """What is known of one upstream secret, or of it together with one model. Times are monotonic seconds."""

    __slots__ = (
        "cooled_at",
        "cooling_until",
        "doubt",
        "exhausted_until",
        "fingerprint",
        "in_flight",
        "is_told",
        "knocked_at",
        "last_failure",
        "left",
        "strikes",
        "uses",
    )

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        """Names the key among replicas; gives nothing away."""
        self.doubt = Doubt()
        self.cooling_until = 0.0
        self.cooled_at = 0.0
        """When the last pause began."""
        self.is_told = False
        """Whether the upstream itself asked for the pause."""
        self.strikes = 0
        """Pauses in a row, for those whose length is ours to choose."""
        self.last_failure: Failure | None = None
        """Why it rests."""
        self.exhausted_until = 0.0
        """Until then the upstream's own figures say that nothing is left."""
        self.left: Mapping[str, int] = {}
        """How many `requests` and `tokens` are left, as the upstream last told."""
        self.uses = 0
        self.in_flight = 0
        self.knocked_at: float | None = None

    def cool(self, seconds: float, now: float, *, is_told: bool, failure: Failure | None) -> None:
        """Begins a pause; one that was told and lasts longer stays."""
        until = now + seconds
        if self.is_told and self.cooling_until > now and until < self.cooling_until:
            return
        if not is_told and self.is_told and self.cooling_until > now:
            return
        self.cooling_until = until
        self.cooled_at = now
        self.is_told = is_told
        self.last_failure = failure
        self.knocked_at = now

    def succeeded(self, now: float) -> None:
        """Notes that it works; what it was put aside for is over, a pause that was told is not."""
        self.strikes = 0
        self.doubt.worked(now)
        if not self.is_told:
            self.cooling_until = 0.0
            self.last_failure = None

    @property
    def says_something(self) -> bool:
        """True if it is in use, or something was held against it."""
        return bool(self.in_flight or self.strikes or self.last_failure)

    def may_knock(self, now: float) -> bool:
        """True if it rests by our judgement alone and was not tried for a while."""
        return not self.is_told and (self.knocked_at is None or now >= self.knocked_at + KNOCK_SECONDS)

    def next_try(self, now: float) -> float:
        """Returns the seconds until it may be tried where no other is left: sooner if it rests by our judgement."""
        rest = max(0.0, self.cooling_until - now)
        if self.is_told or not rest or self.knocked_at is None:
            return rest if self.is_told else 0.0
        return min(rest, max(0.0, self.knocked_at + KNOCK_SECONDS - now))

    def copy(self) -> KeyState:
        """Returns the same state, apart from this one."""
        twin = KeyState(self.fingerprint)
        for name in KeyState.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.doubt = self.doubt.copy()
        return twin


@dataclass(frozen=True, slots=True)
class Key:
    """One credential of a ring. Providers limit rates by key and model, and accounts by key alone: two states."""

    account: KeyState
    """Of the key whatever it is used for: refused, out of money."""
    state: KeyState
    """Of the key with this ring's model: its rates. The same as `account` where a ring is for no model."""
    secret: Secret | None = None
    number: int = 1

    def __repr__(self) -> str:
        return f"Key({self.number})"

    def wait(self, now: float) -> float:
        """Returns the seconds until it has rested, 0 if it needs no rest."""
        return max(0.0, self.state.cooling_until - now, self.account.cooling_until - now)

    def resting(self, now: float) -> KeyState | None:
        """Returns the state that makes it rest longest, None if it need not."""
        longest = max(self.account, self.state, key=lambda state: state.cooling_until)
        return longest if longest.cooling_until > now else None

    def may_knock(self, now: float) -> bool:
        """True if it rests by our judgement alone and was not tried for a while."""
        return all(state.cooling_until <= now or state.may_knock(now) for state in (self.account, self.state))


StateOf = Callable[[str], KeyState]
"""Fingerprint -> state."""


class KeyBook:
    """The states of all keys of a process; a key that stands in two rings has one state."""

    def __init__(self, most: int = 20_000) -> None:
        """Clients name models, so at most `most` states are kept; those that say nothing go first, then old ones."""
        self._states: dict[str, KeyState] = {}
        self._most = most

    def __call__(self, fingerprint: str) -> KeyState:
        """Returns the state with this fingerprint, a new one at first sight."""
        state = self._states.get(fingerprint)
        if state is None:
            if len(self._states) >= self._most:
                telling = [(name, each) for name, each in list(self._states.items()) if each.says_something]
                self._states = dict(telling[-(self._most // 2) :])
            # In one step: a new configuration is built beside the event loop.
            state = self._states.setdefault(fingerprint, KeyState(fingerprint))
        return state

    def find(self, fingerprint: str) -> KeyState | None:
        """Returns a state that is there, None if there is none."""
        return self._states.get(fingerprint)


def fingerprint_of(provider: str, secret: Secret | None, model: str = "") -> str:
    """Returns what names a key among replicas: 16 hexadecimal digits, from which no key can be worked out."""
    digest = hashlib.blake2b(f"{provider}\0{model}\0".encode(), digest_size=8, person=b"anyport-key")
    if secret is not None:
        digest.update(secret.digest())
    return digest.hexdigest()


class KeyRing:
    """All credentials of one provider or deployment, used in turn; no credential at all is a ring of one, too.

    `sign.signed` puts what `headers` or `sign` returns on the request.
    """

    __slots__ = ("_next", "account", "also", "asked", "keys", "signer", "spec")

    def __init__(
        self,
        spec: ProviderSpec,
        secrets: tuple[Secret, ...] = (),
        signer: Signer | None = None,
        also: tuple[tuple[AuthScheme, Secret], ...] = (),
        *,
        model: str = "",
        state_of: StateOf | None = None,
        account: str = "",
        asked: Asked | None = None,
    ) -> None:
        """`signer` takes the place of secrets where the credential depends on the request or has to be fetched.

        `also` are second credentials, which go along with whichever is used. `state_of` remembers what is known.
        `account` tells signers of one provider apart, as a secret would tell itself; `asked` is what it has to say.
        """
        self.spec = spec
        self.account = account
        self.signer = signer
        self.asked = asked
        self.also = also
        self.keys: tuple[Key, ...] = tuple(
            _key(account or spec.id, secret, number, model, state_of or KeyBook())
            for number, secret in enumerate(secrets or (None,), 1)
        )
        self._next = 0

    def __repr__(self) -> str:
        return f"KeyRing({self.spec.id}, {len(self.keys)})"

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets that it was made with."""
        return tuple(key.secret for key in self.keys if key.secret is not None)

    @property
    def is_empty(self) -> bool:
        """True if there is no credential at all."""
        return not self.secrets and not self.also and self.signer is None

    @property
    def is_static(self) -> bool:
        """True if `headers` authenticates every request; else `sign` has to be awaited."""
        return self.signer is None

    def for_model(self, model: str, state_of: StateOf, secrets: tuple[Secret, ...] = ()) -> KeyRing:
        """Returns a ring of the same credentials, or of `secrets`, that knows of their rates with one model."""
        if secrets:
            return KeyRing(self.spec, secrets, None, self.also, model=model, state_of=state_of)
        return KeyRing(
            self.spec,
            self.secrets,
            self.signer,
            self.also,
            model=model,
            state_of=state_of,
            account=self.account,
            asked=self.asked,
        )

    def pick(self, now: float, spent: Collection[KeyState] = ()) -> Key | None:
        """Returns the key whose turn it is among those that need no rest; None if there is none.

        One whose figures say that nothing is left comes after the others: that is a forecast, not an order.
        """
        keys, count = self.keys, len(self.keys)
        last: Key | None = None
        for offset in range(count):
            key = keys[(self._next + offset) % count]
            state = key.state
            if state.cooling_until > now or key.account.cooling_until > now or state in spent:
                continue
            if state.exhausted_until <= now:
                return key
            last = last or key
        return last

    def knock(self, now: float, spent: Collection[KeyState] = ()) -> Key | None:
        """Returns a key that rests by our own judgement and may be tried once more; None if there is none."""
        return next((key for key in self.keys if key.state not in spent and key.may_knock(now)), None)

    def wait(self, now: float) -> float:
        """Returns the seconds until the first key has rested."""
        return min(key.wait(now) for key in self.keys)

    def is_told(self, now: float) -> bool:
        """True if the key that will have rested first rests because the upstream asked for it."""
        first = min(self.keys, key=lambda key: key.wait(now)).resting(now)
        return first is not None and first.is_told

    def next_try(self, now: float) -> float:
        """Returns the seconds until the first key may be tried where no other is left."""
        return min(max(key.state.next_try(now), key.account.next_try(now)) for key in self.keys)

    def used(self, key: Key, now: float) -> None:
        """Notes that an attempt uses `key`: the next one gets the next."""
        self._next = key.number % len(self.keys)
        key.state.uses += 1
        key.state.knocked_at = key.account.knocked_at = now

    def headers(self, key: Key | None = None) -> Headers:
        """Returns the headers that authenticate an attempt with `key`, none if there is no secret."""
        key = key or self.keys[0]
        headers = auth_headers(self.spec.auth, key.secret)
        for scheme, secret in self.also:
            headers += auth_headers(scheme, secret)
        return headers

    async def completed(self, request: HttpRequest) -> HttpRequest:
        """Returns a request with what only its account can say; raises `CredentialUnavailable`."""
        return request if self.asked is None else await self.asked.completed(request)

    async def sign(self, request: HttpRequest, key: Key | None = None) -> Headers:
        """Returns the headers that authenticate exactly this request; raises `CredentialUnavailable`."""
        headers = self.headers(key)
        return headers if self.signer is None else headers + await self.signer.sign(request)

    def refused(self, headers: Headers, failure: Failure) -> bool:
        """Notes that a request with what `sign` returned was refused; returns whether something else may be let in."""
        return self.signer is not None and self.signer.refused(headers, failure)

    def copy(self, state_of: Callable[[KeyState], KeyState]) -> KeyRing:
        """Returns a ring with the same secrets and turn, and other states."""
        twin = KeyRing(self.spec, (), self.signer, self.also)
        twin.keys = tuple(Key(state_of(key.account), state_of(key.state), key.secret, key.number) for key in self.keys)
        twin._next = self._next
        return twin


def _key(provider: str, secret: Secret | None, number: int, model: str, state_of: StateOf) -> Key:
    account = state_of(fingerprint_of(provider, secret))
    state = state_of(fingerprint_of(provider, secret, model)) if model else account
    return Key(account, state, secret, number)
