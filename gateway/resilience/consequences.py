"""What an attempt's end does to the live state: pauses, ejections, figures. Pure: the time comes from outside.

The engine calls `begin` and `end` for every attempt, and between them what it has seen: `begin_well` and `end_well`, or
`fail`, or nothing if the client left. Explanations call the same on copies of the state, and so see the same future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from adapters.failures import Failure, FailureKind
from gateway.credentials.keyring import Key, KeyState
from gateway.health.vitals import Vitals
from gateway.resilience.verdicts import NO_CREDENTIAL, Scope, pause_seconds, told_seconds, verdict_on
from gateway.routing.deployment import Deployment
from gateway.routing.route import OWN_FAULTS


class Turn(StrEnum):
    """What happened to a key or a deployment."""

    KEY_COOLED = "key_cooled"
    DEPLOYMENT_COOLED = "deployment_cooled"
    EJECTED = "ejected"
    READMITTED = "readmitted"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of the live state, for metrics, the log and other replicas."""

    turn: Turn
    deployment: Deployment
    reason: str
    seconds: float = 0.0
    key: Key | None = None
    needs_attention: bool = False
    is_told: bool = False
    """Whether the upstream itself asked for the pause."""
    state: KeyState | None = None
    """What rests of the key: all of it, or its rates with one model."""


class Running(Struct):
    """One attempt that has begun and not ended."""

    deployment: Deployment
    key: Key
    began: float
    tokens: int
    is_probe: bool
    is_chat: bool
    spent: int | None = None
    """Tokens that it has really cost, as far as the upstream has said."""


def begin(
    deployment: Deployment,
    key: Key,
    now: float,
    *,
    is_first: bool,
    charged: Deployment | None,
    tokens: int = 0,
    is_chat: bool = True,
) -> Running:
    """Notes that an attempt begins; `charged` is the deployment whose failure made it necessary and has to be paid.

    `is_chat` if it is for what nearly all models do: to complete a text.
    """
    if tokens:
        # A client writes what it wants at most: more than a whole minute would keep everybody else away for longer.
        tokens = min(tokens, deployment.vitals.limits.tokens_per_minute or tokens)
    is_probe = deployment.vitals.begin(now, is_first=is_first, tokens=tokens)
    if charged is not None:
        charged.vitals.counts.retried(now)
    deployment.key_ring.used(key, now)
    key.state.in_flight += 1
    return Running(deployment, key, now, tokens, is_probe, is_chat)


def begin_well(running: Running, now: float) -> Sequence[Event]:
    """Notes that an attempt has come to its first content: it works again, if it did not."""
    deployment, vitals = running.deployment, running.deployment.vitals
    vitals.latency.observe(now - running.began, now)
    vitals.doubt.worked(now)
    running.key.state.succeeded(now)
    running.key.account.succeeded(now)
    if vitals.ejected_until is None or running.began < vitals.ejected_at:
        return ()
    vitals.readmit()
    running.is_probe = False
    return (Event(Turn.READMITTED, deployment, "it works again"),)


def end_well(running: Running, now: float) -> None:
    """Notes that the whole answer has come. A stream that breaks off after its first content has not ended well."""
    running.deployment.vitals.succeeded(now)


def end(running: Running, now: float) -> None:
    """Notes that an attempt is over, well or not; to be called once for every `begin`."""
    vitals = running.deployment.vitals
    vitals.end(is_probe=running.is_probe)
    running.key.state.in_flight -= 1
    if running.spent is not None:
        vitals.spent(running.spent - running.tokens, now)


def fail(running: Running, failure: Failure, now: float) -> Sequence[Event]:
    """Notes that an attempt has failed."""
    deployment, key = running.deployment, running.key
    verdict = verdict_on(failure)
    if running.spent is None and (failure.is_unsent or (failure.status is not None and 400 <= failure.status < 500)):
        running.spent = 0  # refused: no token was read or written
    # That our own pool is full, and when it may be worth another look, says nothing about the upstream.
    is_full = failure.kind is FailureKind.CONNECT and failure.code == "overloaded"
    speaks_against = verdict.speaks_against and not is_full
    reason = failure.kind.value
    events: list[Event] = []
    if failure.kind in OWN_FAULTS or failure.kind is FailureKind.MODEL_MISSING:
        key.account.succeeded(now)  # whoever reads a request has let its key in
    if not _is_believed(running, failure, now):
        pass  # perhaps it is this request that is refused
    elif verdict.rests is Scope.KEY:
        events.append(_cool_key(running, failure, now))
    elif verdict.rests is Scope.DEPLOYMENT:
        seconds = pause_seconds(failure, _strike(deployment.vitals, running.began))
        is_told = told_seconds(failure) is not None
        deployment.vitals.cool(seconds, now, is_told=is_told, reason=reason)
        events.append(Event(Turn.DEPLOYMENT_COOLED, deployment, reason, seconds, is_told=is_told))
    elif speaks_against and (told := told_seconds(failure)) is not None:
        deployment.vitals.cool(told, now, is_told=True, reason=reason)
        events.append(Event(Turn.DEPLOYMENT_COOLED, deployment, reason, told, is_told=True))
    if speaks_against and not failure.is_impatience:  # patience with the whole request says nothing, either
        seconds = deployment.vitals.failed(now, began=running.began, is_unsent=failure.is_unsent, reason=reason)
        if seconds:
            events.append(Event(Turn.EJECTED, deployment, reason, seconds, key))
    return events


def _strike(resting: Vitals | KeyState, began: float) -> int:
    """Counts a pause and returns how many came before it; those who were at work together fail as one."""
    if resting.strikes and began < resting.cooled_at:
        return resting.strikes - 1
    resting.strikes += 1
    return resting.strikes - 1


def _is_believed(running: Running, failure: Failure, now: float) -> bool:
    """True if what failed is to rest for it: a refusal that will not pass soon is doubted where all was well."""
    verdict = verdict_on(failure)
    if failure.kind is FailureKind.MODEL_MISSING and not running.is_chat:
        return False  # a model that only chats has no embeddings, say, and a 404 for them often reads like this
    if verdict.pause_seconds is None or told_seconds(failure) is not None or failure.code == NO_CREDENTIAL:
        return True
    doubt = running.deployment.vitals.doubt if verdict.rests is Scope.DEPLOYMENT else _refused(running, failure).doubt
    return doubt.refused(now)


def _refused(running: Running, failure: Failure) -> KeyState:
    # 401 and 402 mean the account; every other refusal may be of this model alone.
    return running.key.account if failure.status in (401, 402) else running.key.state


def _cool_key(running: Running, failure: Failure, now: float) -> Event:
    state = _refused(running, failure)
    seconds = pause_seconds(failure, _strike(state, running.began))
    is_told = told_seconds(failure) is not None
    state.cool(seconds, now, is_told=is_told, failure=failure)
    needs_attention = verdict_on(failure).needs_attention and failure.code != NO_CREDENTIAL
    reason = failure.kind.value
    return Event(
        Turn.KEY_COOLED,
        running.deployment,
        reason,
        seconds,
        running.key,
        needs_attention=needs_attention,
        is_told=is_told,
        state=state,
    )
