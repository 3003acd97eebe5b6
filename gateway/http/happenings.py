"""What a process tells of itself to whoever listens: requests that ended, pauses, trouble, other models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from adapters.types import Usage
from gateway.domain import Outcome
from gateway.records import dollars
from gateway.reload.reloader import Reloaded
from gateway.resilience.consequences import Event, Turn
from gateway.runtime import Runtime
from gateway.state.base import CoolDown
from gateway.telemetry.access_log import clean
from gateway.telemetry.counts import milliseconds
from gateway.telemetry.feed import Feed

LOOK_SECONDS: Final = 0.5
"""How often somebody looks what has passed by itself, while anybody listens."""
_MOST_RESTING: Final = 1_000
_MOST_FAULTS: Final = 5
_REFUSALS: Final = frozenset({401, 403, 429, 503})
_KINDS: Final = {
    Turn.KEY_COOLED: "key_rest",
    Turn.DEPLOYMENT_COOLED: "cool_down",
    Turn.EJECTED: "ejection",
    Turn.READMITTED: "return",
}
_NO_USAGE: Final = Usage()
_Until = Callable[[], float]
"""Returns when something may be used again, monotonic seconds."""


class Happenings:
    """Tells the feed of one process. While nobody listens it does nothing and remembers nothing."""

    def __init__(
        self, feed: Feed, current: Callable[[], Runtime], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`current` returns the runtime that is in use."""
        self.feed = feed
        self._current = current
        self._clock = clock
        self._looking: asyncio.Task[None] | None = None
        self._resting: dict[tuple[str, str], tuple[dict[str, Any], _Until]] = {}
        self._troubles: dict[str, str] = {}
        self._models: Mapping[str, tuple[str, ...]] = {}
        feed.follow(self._turned)

    def hear(self, event: Event) -> None:
        """Takes what an attempt did to a key or a deployment."""
        if not self.feed.is_heard:
            return
        deployment, key = event.deployment, event.key
        members: dict[str, Any] = {"provider": deployment.provider, "deployment": clean(deployment.id)}
        if event.turn is Turn.KEY_COOLED and key is not None:
            members |= {"key": key.number, "of": len(deployment.key_ring.keys)}
        kind = _KINDS[event.turn]
        self.feed.tell(
            kind,
            {**members, "reason": event.reason, "seconds": round(event.seconds, 3), "is_told": event.is_told},
        )
        state, vitals = event.state, deployment.vitals
        if kind == "key_rest" and state is not None:
            self._rests(kind, state.fingerprint, members, lambda: state.cooling_until)
        elif kind == "cool_down":
            self._rests(kind, deployment.id, members, lambda: vitals.cooling_until)

    def hear_replica(self, told: CoolDown, owner: str, *, is_told: bool) -> None:
        """Takes what another replica tells."""
        if self.feed.is_heard:
            kind = "key_rest" if told.scope == "key" else "cool_down"
            members = {"provider": owner, "deployment": "", "reason": told.reason.value}
            self.feed.tell(kind, {**members, "seconds": told.seconds, "is_told": is_told, "by": "another replica"})

    def reloaded(self, why: str, reloaded: Reloaded) -> None:
        """Takes what became of a reload."""
        if not self.feed.is_heard:
            return
        text = reloaded.changes.text() if reloaded.changes else ""
        members = {"ok": reloaded.ok, "why": why, "seconds": round(reloaded.seconds, 3), "changes": text}
        self.feed.tell("reload", {**members, "faults": [fault.text for fault in reloaded.faults[:_MOST_FAULTS]]})

    def look(self) -> None:
        """Tells what has passed since the last look, or has changed without anybody's telling."""
        now = self._clock()
        for name, (members, until) in list(self._resting.items()):
            if until() <= now:
                del self._resting[name]
                self.feed.tell(f"{name[0]}_ended", members)
        runtime = self._current()
        self._compare_troubles(troubles_of(runtime))
        self._compare_models(runtime.catalogue.listing.models)

    def _rests(self, kind: str, name: str, members: dict[str, Any], until: _Until) -> None:
        if len(self._resting) < _MOST_RESTING:
            self._resting[kind, name] = (members, until)

    def _compare_troubles(self, troubles: dict[str, str]) -> None:
        before, self._troubles = self._troubles, troubles
        for what, text in troubles.items():
            if what not in before:
                self.feed.tell("trouble", {"what": what, "message": text})
        for what in before:
            if what not in troubles:
                self.feed.tell("trouble_ended", {"what": what})

    def _compare_models(self, models: Mapping[str, tuple[str, ...]]) -> None:
        before, self._models = self._models, models
        if before is models:
            return
        for provider in sorted({*before, *models}):
            old, new = before.get(provider), models.get(provider)
            if old != new:
                added, gone = set(new or ()) - set(old or ()), set(old or ()) - set(new or ())
                members = {"provider": provider, "is_there": new is not None, "models": len(new or ())}
                self.feed.tell("discovery", {**members, "added": len(added), "removed": len(gone)})

    def _turned(self) -> None:
        """Looks around as long as somebody listens, beginning with what is so already and no news."""
        if self.feed.is_heard:
            runtime = self._current()
            # What is wrong already is news to whoever begins to listen; what is listed is not.
            self._troubles, self._models = {}, runtime.catalogue.listing.models
            self._looking = asyncio.get_running_loop().create_task(self._look_on(), name="happenings")
        elif self._looking is not None:
            self._looking.cancel()
            self._looking = None
            self._resting.clear()

    async def _look_on(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)


def troubles_of(runtime: Runtime) -> dict[str, str]:
    """Returns what of storage and state does not do its work now, and why; no secret."""
    stored = runtime.shared.stored.thing
    ledger = runtime.books.ledger
    found = {
        "storage": stored.picture.trouble,
        "journal": ledger.journal.trouble if ledger is not None else "",
        "budgets": stored.spending.trouble,
        "limits": runtime.shared.admissions.thing.trouble,
    }
    return {what: runtime.scrubber.text(text)[:500] for what, text in found.items() if text}


def tell_request(feed: Feed, outcome: Outcome, client: str) -> None:
    """Tells that a request has ended; `client` is the name of its key."""
    usage = outcome.usage or _NO_USAGE
    attempts, first, cost = outcome.attempts, outcome.first_byte, outcome.cost_nano_usd
    error = None if outcome.error_code is None else clean(outcome.error_code)
    who = {"id": clean(outcome.request_id), "key": clean(client), "operation": outcome.operation}
    what = {"model": clean(outcome.model), "status": outcome.status, "error": error}
    feed.tell(
        "request",
        {
            **who,
            **what,
            "provider": clean(outcome.provider),
            "deployment": clean(outcome.deployment),
            "stream": outcome.stream,
            "attempts": len(attempts),
            "fallback": outcome.fallback or None,
            "hedged": any(attempt.is_hedge for attempt in attempts),
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "cached_tokens": usage.cached_prompt,
            "reasoning_tokens": usage.reasoning,
            "cost_usd": None if cost is None else dollars(cost),
            "ttft_ms": None if first is None else milliseconds(first - outcome.started),
            "total_ms": milliseconds(outcome.ended - outcome.started),
            "cancelled": outcome.is_cancelled,
        },
    )
    if not attempts and outcome.status in _REFUSALS:
        feed.tell("refusal", {**who, **what, "limit": outcome.limit or None, "of": outcome.limit_of or None})
