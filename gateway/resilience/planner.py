"""What the attempt loop does next. Pure: it is told the time and what happened, and answers with one step.

Theory. A request has a plan (stages: the route that was asked for, then those that take over from it, each with its
deployments in order), one deadline and one budget of attempts for everything together. Each step is a try, a wait or
the end. What is tried next is, in this order:

1. the same request on a fresh connection, if a pooled one died before one byte of an answer came: the server closed an
   idle connection at the moment of sending, which says nothing about it; at once, once per try, and not counted;
2. another key of the deployment that failed, if it was the key that failed: a fresh key needs no pause;
3. a deployment of the stage that was not tried yet and that nothing speaks against; it needs no pause either;
4. the next stage whose `fallback_on` has this kind of failure;
5. what only our own guess speaks against: an ejected deployment, a key put aside a while ago;
6. the same key and deployment again, after a pause of random length that doubles;
7. whatever asked for a pause, after exactly that pause, if it is short.

Another deployment comes before the same one again because it needs no pause and its chances are better. As long as a
later stage may follow, one attempt is kept for it. A pause that an upstream asked for is never cut short, by nobody's
request. Failures of the request itself narrow down what may follow for good, and two of them end it. A request that two
deployments of one stage answer with the same trouble is taken for poison, which would only kill the others, too: that
stage is over for it, however many deployments are left. Retries of what
an upstream has seen are paid from the budget of the deployment that failed, so that trouble does not multiply; one at a
deployment that has had no trouble of late goes on credit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from adapters.failures import Failure
from gateway.credentials.keyring import Key, KeyState
from gateway.health.vitals import GUESSES, KNOCK_SECONDS, Obstacle
from gateway.resilience.closing import told_to_client, without_attempt
from gateway.resilience.eligibility import may_follow, takes_over
from gateway.resilience.steps import FailedTry, GiveUp, Try, Wait, is_alike, past_deadline
from gateway.resilience.verdicts import may_come_back, may_repeat, verdict_on
from gateway.routing.deployment import Deployment, Limit
from gateway.routing.route import OWN_FAULTS, Plan, RetryPolicy, Stage

_BUSY_SECONDS: Final = 0.05
"""How often is looked whether a full deployment has room: its attempts end when they end."""
_NOBODY: Final[frozenset[str]] = frozenset()
_POISONOUS: Final = 2
"""So many failures of the request itself end it."""


class AttemptPlanner:
    """Plans the attempts of one request. Whoever tries tells `record` of every failure, and asks `next` again."""

    __slots__ = (
        "_attempts",
        "_dead",
        "_declined",
        "_ejected",
        "_failed",
        "_last",
        "_open_from",
        "_pauses",
        "_policy",
        "_random",
        "_rested_at",
        "_tries",
        "_wait_left",
        "deadline",
        "plan",
        "total",
    )

    def __init__(self, plan: Plan, deadline: float, total: Limit, random: Callable[[], float]) -> None:
        """`deadline` is monotonic, `total` says what set it; `random` gives numbers from 0 to 1."""
        self.plan = plan
        self.deadline = deadline
        self.total = total
        self._policy: RetryPolicy = plan.route.retry
        self._random = random
        self._attempts = 0
        self._tries: Sequence[Try] = ()
        """Those that something was sent for or declined, without replays."""
        self._declined = _NOBODY
        self._failed: Sequence[FailedTry] = ()
        self._last: Try | None = None
        self._dead: tuple[Try, Failure] | None = None
        """What died on a pooled connection and was not replayed yet."""
        self._ejected: tuple[Stage | None, float, frozenset[str]] = (None, 0.0, _NOBODY)
        """Worked out once for each stage and moment."""
        self._open_from = 0
        """The stages before this one are over."""
        self._pauses = 0
        self._rested_at: float | None = None
        self._wait_left = self._policy.max_wait_seconds

    # What the loop calls.

    def next(self, now: float) -> Try | Wait | GiveUp:
        """Returns the next step at monotonic time `now`."""
        if now >= self.deadline:
            if self._failed and self._failed[-1].failure.kind in OWN_FAULTS:
                return self._give_up(now)  # more time would have changed nothing
            return GiveUp(past_deadline(self.total), self._last.deployment.id if self._last else self.plan.model)
        if self._dead is not None and (again := self._replay(self._dead, now)) is not None:
            return again
        if not self._failed:
            return self._first(now) or self._at_once(now) or self._later(now)
        if self._attempts >= self._policy.attempts or self._is_poisonous():
            return self._give_up(now)
        if not self._has_budget(now):
            return self._relief(now) or replace(self._give_up(now), is_over_budget=True)
        return self._at_once(now) or self._later(now)

    def record(self, failure: Failure, tried: Try, *, is_replayable: bool = False) -> None:
        """Notes how a try failed; its consequences for keys and deployments have been drawn."""
        if is_replayable and not tried.fresh:
            self._dead = tried, failure
        else:
            self._has_failed(tried, failure)

    def decline(self, tried: Try) -> None:
        """Notes that a deployment cannot express the request: nothing was sent, and nothing is counted."""
        self._declined |= {tried.deployment.id}
        self._attempts -= 1
        self._last = None

    def hedge(self, now: float) -> Try | None:
        """Returns a second try beside the one that runs: another deployment of its stage; None if there is none."""
        running = self._last
        if running is None or self._left() <= self._stages_after(self.plan.stages.index(running.stage)):
            return None
        for deployment in running.stage.candidates:
            if self._is_new(deployment) and self._obstacle(deployment, running.stage, now) is None:
                key = deployment.key_ring.pick(now)
                if key is not None:
                    return self._try(deployment, key, running.stage)
        return None

    # What may be tried at once.

    def _replay(self, dead: tuple[Try, Failure], now: float) -> Try | None:
        """The same on a fresh connection; where it was asked to rest meanwhile, the try counts as failed."""
        self._dead = None
        tried, failure = dead
        if not tried.key.wait(now) and tried.deployment.vitals.obstacle(now) is not Obstacle.COOLING:
            self._last = replace(tried, fresh=True, is_first=False, charged=None)
            return self._last
        self._has_failed(tried, failure)
        return None

    def _first(self, now: float) -> Try | None:
        """What nearly every request does: the first deployment, if nothing is in its way."""
        stage = self.plan.stages[0]
        candidates = stage.candidates
        if self._attempts or self._declined or not candidates:
            return None
        deployment = candidates[0]
        if deployment.vitals.obstacle(now, self.plan.tokens) is not None:
            return None
        key = deployment.key_ring.pick(now)
        return None if key is None else self._try(deployment, key, stage)

    def _at_once(self, now: float) -> Try | None:
        if (again := self._other_key(now)) is not None:
            return again
        for place, stage in self._open_stages():
            if self._failed and self._left() <= self._stages_after(place):
                continue
            for deployment in stage.candidates:
                if not self._is_new(deployment) or self._obstacle(deployment, stage, now) is not None:
                    continue
                if (key := deployment.key_ring.pick(now)) is not None and self._may_follow(deployment, stage):
                    return self._try(deployment, key, stage)
        return None

    def _relief(self, now: float) -> Try | None:
        """Another deployment that has had no trouble of late, once: what it takes over multiplies nobody's trouble."""
        if len(self._failed) > 1:
            return None
        for place, stage in self._open_stages():
            for deployment in stage.candidates if self._left() > self._stages_after(place) else ():
                if not self._is_sound(deployment, stage, now):
                    continue
                if (key := deployment.key_ring.pick(now)) is not None:
                    self._last = replace(self._try(deployment, key, stage), charged=None)
                    return self._last
        return None

    def _is_sound(self, deployment: Deployment, stage: Stage, now: float) -> bool:
        if not self._is_new(deployment) or deployment.vitals.counts.has_failed(now):
            return False
        return self._obstacle(deployment, stage, now) is None and self._may_follow(deployment, stage)

    def _other_key(self, now: float) -> Try | None:
        last = self._failed[-1] if self._failed else None
        if last is None or not verdict_on(last.failure).key:
            return None
        if self._left() <= self._stages_after(self.plan.stages.index(last.stage)):
            return None
        deployment = last.deployment
        if self._obstacle(deployment, last.stage, now) not in (None, Obstacle.EJECTED):
            return None
        key = deployment.key_ring.pick(now, self._used_keys())
        return None if key is None else self._try(deployment, key, last.stage)

    # What may be tried where nothing else is left.

    def _later(self, now: float) -> Try | Wait | GiveUp:
        return self._in_spite(now) or self._again(now) or self._after_pause(now) or self._give_up(now)

    def _in_spite(self, now: float) -> Try | None:
        """Something that only our own guess speaks against."""
        for stage, deployment in self._possible():
            obstacle = self._obstacle(deployment, stage, now)
            if not self._is_new(deployment) or (obstacle is not None and obstacle not in GUESSES):
                continue
            ring = deployment.key_ring
            key = ring.pick(now) or ring.knock(now, self._used_keys())
            if key is not None and not deployment.vitals.is_unreachable(now):
                return self._try(deployment, key, stage)
        return None

    def _again(self, now: float) -> Try | Wait | None:
        """The same deployment once more, after a pause of our own or the one that it has asked for."""
        for stage, deployment in self._possible():
            failed = self._last_failed(deployment)
            if failed is None or self._is_worn_out(deployment):
                continue
            if self._obstacle(deployment, stage, now) not in (None, *GUESSES):
                continue
            key = deployment.key_ring.pick(now) if failed.key.wait(now) else failed.key
            if key is None:
                continue
            if not may_repeat(failed.failure):
                if verdict_on(failed.failure).after_pause:
                    return self._try(deployment, key, stage)
                continue
            if self._rested_at is None:
                self._rested_at = now + self._backoff()
            if now >= self._rested_at:
                return self._try(deployment, key, stage)
            if self._rested_at < self.deadline:
                return Wait(self._rested_at - now)
        return None

    def _after_pause(self, now: float) -> Wait | None:
        """Until the first key or deployment has rested, if that is soon."""
        waits = list(self._waits(now))
        if not waits or (soonest := min(waits)) > self._wait_left or now + soonest >= self.deadline:
            return None
        self._wait_left -= soonest
        return Wait(soonest)

    def _waits(self, now: float) -> Iterator[float]:
        for stage, deployment in self._possible():
            failed = self._last_failed(deployment)
            if failed is not None and (not may_come_back(failed.failure) or self._is_worn_out(deployment)):
                continue
            obstacle = self._obstacle(deployment, stage, now)
            keys = deployment.key_ring.wait(now)
            if obstacle in (Obstacle.UNREACHABLE, *GUESSES):
                continue
            if obstacle is Obstacle.BUSY:
                yield max(_BUSY_SECONDS, keys)
            elif (seconds := max(keys, deployment.vitals.wait(now, self.plan.tokens))) > 0:
                yield seconds

    # Small questions.

    def _has_failed(self, tried: Try, failure: Failure) -> None:
        failed = FailedTry(tried.deployment, tried.key, tried.stage, failure)
        if any(is_alike(failed, other) for other in self._failed):
            self._open_from = self.plan.stages.index(tried.stage) + 1
        self._failed = (*self._failed, failed)
        self._rested_at = None

    def _open_stages(self) -> Iterator[tuple[int, Stage]]:
        for place, stage in enumerate(self.plan.stages):
            if place < self._open_from:
                continue
            if place == 0:
                if not self._failed or verdict_on(self._failed[-1].failure).deployment:
                    yield place, stage
            elif takes_over(stage, self._failed[-1].failure.kind if self._failed else None):
                yield place, stage

    def _possible(self) -> Iterator[tuple[Stage, Deployment]]:
        for stage in self.plan.stages[self._open_from :]:
            for deployment in stage.candidates:
                if deployment.id not in self._declined and self._may_follow(deployment, stage):
                    yield stage, deployment

    def _may_follow(self, deployment: Deployment, stage: Stage) -> bool:
        """True if neither the kinds of the failures so far nor the request itself rule it out."""
        if stage.fallback is not None:
            kind = self._failed[-1].failure.kind if self._failed else None
            if not takes_over(stage, kind) and not self._count_of(deployment):
                return False
        return all(
            may_follow(deployment, stage, each.deployment, each.failure, self.plan.route)
            for each in self._failed
            if each.failure.kind in OWN_FAULTS
        )

    def _obstacle(self, deployment: Deployment, stage: Stage, now: float) -> Obstacle | None:
        vitals = deployment.vitals
        obstacle = vitals.obstacle(now, self.plan.tokens)
        if obstacle is not Obstacle.EJECTED or self._is_ejected(deployment, stage, now):
            return obstacle
        return Obstacle.UNREACHABLE if vitals.is_unreachable(now) else None

    def _is_ejected(self, deployment: Deployment, stage: Stage, now: float) -> bool:
        """False for those that are over the share of a route that may be ejected, the first to come back first."""
        seen, at, ids = self._ejected
        if seen is not stage or at != now:
            ejected = [each for each in stage.candidates if each.vitals.obstacle(now) is Obstacle.EJECTED]
            ejected.sort(key=lambda each: -(each.vitals.ejected_until or 0.0))
            most = min(int(stage.route.max_ejected_share * len(stage.candidates)), len(stage.candidates) - 1)
            ids = frozenset(each.id for each in ejected[:most])
            self._ejected = stage, now, ids
        return deployment.id in ids

    def _last_failed(self, deployment: Deployment) -> FailedTry | None:
        return next((each for each in reversed(self._failed) if each.deployment is deployment), None)

    def _is_new(self, deployment: Deployment) -> bool:
        return deployment.id not in self._declined and not self._count_of(deployment)

    def _is_worn_out(self, deployment: Deployment) -> bool:
        return self._count_of(deployment) >= self._policy.per_deployment

    def _count_of(self, deployment: Deployment) -> int:
        return sum(each.deployment.id == deployment.id for each in self._tries)

    def _used_keys(self) -> set[KeyState]:
        return {each.key.state for each in self._tries}

    def _left(self) -> int:
        return self._policy.attempts - self._attempts

    def _stages_after(self, place: int) -> int:
        """How many later stages may still want an attempt."""
        kind = self._failed[-1].failure.kind if self._failed else None
        later = self.plan.stages[place + 1 :]
        return sum(takes_over(stage, kind) and not self._was_tried(stage) for stage in later) if later else 0

    def _was_tried(self, stage: Stage) -> bool:
        return any(self._count_of(deployment) for deployment in stage.candidates)

    def _is_poisonous(self) -> bool:
        return sum(each.failure.kind in OWN_FAULTS for each in self._failed) >= _POISONOUS

    def _has_budget(self, now: float) -> bool:
        last = self._failed[-1]
        if last.failure.is_unsent:
            return True  # the upstream saw nothing, so nothing is multiplied
        policy = self._policy
        return last.deployment.vitals.may_retry(now, policy.budget, policy.budget_floor_per_second)

    def _backoff(self) -> float:
        policy = self._policy
        longest = min(policy.backoff_seconds * 2 ** min(self._pauses, 30), policy.max_backoff_seconds)
        self._pauses += 1
        return self._random() * longest

    def _try(self, deployment: Deployment, key: Key, stage: Stage) -> Try:
        last = self._failed[-1] if self._failed else None
        charged = None if last is None or last.failure.is_unsent else last.deployment
        reason = last.failure.kind.value if last else "unavailable" if stage.fallback else ""
        self._last = tried = Try(deployment, key, stage, False, not self._attempts, charged, reason)
        self._attempts += 1
        self._tries = (*self._tries, tried)
        return tried

    def _give_up(self, now: float) -> GiveUp:
        seconds = self._next_chance(now)
        if not self._failed:
            return self._without_attempt(now, seconds)
        failed = told_to_client([(each.deployment.id, each.failure) for each in self._failed], seconds)
        return GiveUp(failed[1], failed[0])

    def _without_attempt(self, now: float, seconds: float | None) -> GiveUp:
        for stage, deployment in self._possible():
            obstacle = self._obstacle(deployment, stage, now)
            return GiveUp(without_attempt(deployment, obstacle, now, seconds), deployment.id)
        return GiveUp(None, self.plan.model)

    def _next_chance(self, now: float) -> float | None:
        """When something may be tried again: what was asked for and will pass, else when we ask on our own account."""
        passing: list[float] = []
        tried_again: list[float] = []
        for stage, deployment in self._possible():
            if self._obstacle(deployment, stage, now) is Obstacle.UNREACHABLE:
                passing.append(KNOCK_SECONDS)
                continue
            busy = deployment.vitals.next_try(now, self.plan.tokens)
            ring = deployment.key_ring
            tried_again.append(max(ring.next_try(now), busy))
            if ring.wait(now) == 0 or ring.is_told(now):
                passing.append(max(ring.wait(now), busy))
        return min(passing or tried_again, default=None)
