"""Worlds made by chance: requests that share deployments and keys, on a clock that jumps, watched by an observer.

The observer keeps books of its own and believes nothing that the planner or the live state says about itself.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable
from random import Random
from typing import Final

from adapters.failures import Failure, FailureKind
from gateway.credentials.keyring import KeyBook
from gateway.health.vitals import Capacity, HealthPolicy
from gateway.resilience import consequences
from gateway.resilience.consequences import Running
from gateway.resilience.planner import AttemptPlanner
from gateway.resilience.steps import GiveUp, Try, Wait
from gateway.routing.deployment import Deployment, Limit
from gateway.routing.route import OWN_FAULTS, Plan, RetryPolicy, Stage
from tests.resilience.scenery import deployment, fallback, stage

K = FailureKind
KINDS: Final = tuple(K)
OF_KEY: Final = frozenset({K.RATE_LIMIT, K.QUOTA, K.AUTH})
LIMITS: Final = frozenset({K.RATE_LIMIT, K.QUOTA})
WEATHERS: Final = (
    (K.RATE_LIMIT,),
    (K.SERVER,),
    (K.CONNECT,),
    (K.OVERLOADED, K.RATE_LIMIT),
    (K.AUTH, K.QUOTA, K.RATE_LIMIT),
    (K.TIMEOUT, K.SERVER, K.CONNECT, K.MALFORMED),
    tuple(OWN_FAULTS),
    KINDS,
)
WAITS: Final = (None, None, 0.0, 0.2, 1.0, 2.5, 9.0, 30.0, 1e5, float("inf"))
SECONDS: Final = (0.0, 0.001, 0.02, 0.3, 2.0, 7.0)
GAPS: Final = (0.0, 0.0, 0.005, 0.05, 0.4, 3.0)
OTHERS: Final = (("p", "m", "openai"), ("q", "m", "openai"), ("r", "n", "anthropic"), ("s", "o", "openai"))


class Request:
    """One request on its way, and what the observer knows of it."""

    def __init__(self, plan: Plan, now: float, seconds: float, random: Callable[[], float]) -> None:
        self.plan = plan
        self.policy: RetryPolicy = plan.route.retry
        self.deadline = now + seconds
        self.planner = AttemptPlanner(plan, self.deadline, Limit(seconds, "upstream.total_seconds"), random)
        self.running: list[tuple[Try, Running]] = []
        self.failed: list[tuple[str, Failure]] = []
        self.tries = 0
        self.at: Counter[str] = Counter()
        self.keys: set[int] = set()
        self.declined: set[str] = set()
        self.dead: tuple[Try, Failure] | None = None
        """What died on a pooled connection; it counts as failed if it is not replaced."""
        self.steps = 0
        self.is_over = False
        candidates = sum(len(each.candidates) for each in plan.stages)
        self.most_steps = 6 * self.policy.attempts + candidates + self.policy.max_wait_seconds / 0.05 + 10


class World:
    """Deployments, keys and weather; `run` lets requests come until all of them have ended."""

    def __init__(self, seed: int, *, fails_always: bool = False) -> None:
        self.random = random = Random(seed)
        self.fails_always = fails_always
        self.now = random.choice((0.0, 5.5, 123_456.7))
        book = KeyBook()
        self.deployments = [self._deployment(f"d{number}", book) for number in range(random.randint(1, 6))]
        self.plans = [self._plan() for _ in range(2)]
        self.weather: dict[str, tuple[float, tuple[K, ...]]] = {}
        self.told: defaultdict[object, float] = defaultdict(float)
        """Deployment's id or identity of a key's state -> until when it asked to be left alone."""
        self.firsts: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.retries: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.outcomes: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def run(self, requests: int) -> None:
        """Runs so many requests to their ends."""
        arrives = self.now
        for number in range(requests):
            if number % 10 == 0:
                self._at(arrives, self._change)
            self._at(arrives, self._arrive)
            arrives += self.random.choice(GAPS)
        while self._events:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
        assert sum(self.outcomes.values()) == requests
        for each in self.deployments:
            assert each.vitals.in_flight == 0
            assert all(key.state.in_flight == 0 for key in each.key_ring.keys)

    # What there is.

    def _deployment(self, id: str, book: KeyBook) -> Deployment:
        random = self.random
        provider, model, protocol = random.choice(OTHERS)
        limits = Capacity(
            max_in_flight=random.choice((None, None, None, 1, 2)),
            requests_per_minute=random.choice((None, None, None, 20, 300)),
            tokens_per_minute=random.choice((None, None, None, 5000)),
        )
        return deployment(
            id,
            keys=random.randint(1, 3),
            provider=provider,
            model=model,
            protocol=protocol,
            policy=HealthPolicy(consecutive_failures=random.choice((2, 5)), min_attempts=random.choice((5, 20))),
            limits=limits,
            book=book,
            context_window=random.choice((None, 100, 1000)),
        )

    def _plan(self) -> Plan:
        random = self.random
        policy = {
            "attempts": random.choice((1, 2, 4, 4, 7)),
            "per_deployment": random.choice((1, 2, 2, 3)),
            "max_wait_seconds": random.choice((0.0, 1.0, 10.0)),
            "budget": random.choice((0.0, 0.2, 1.0)),
            "budget_floor_per_second": random.choice((0.0, 0.1, 3.0)),
            "max_ejected_share": random.choice((0.0, 0.7, 1.0)),
            "goes_on_after_bad_request": random.random() < 0.8,
        }
        stages = [stage(*self._some(), **policy)]
        for _ in range(random.choice((0, 0, 1, 2))):
            on = random.choice((None, None, (K.SERVER, K.CONTEXT_LENGTH), KINDS, (K.CONTENT_FILTER,)))
            stages.append(fallback(*self._some(), on=on))
        return Plan("r", tuple(stages), tokens=random.choice((0, 100)))

    def _some(self) -> list[Deployment]:
        return self.random.sample(self.deployments, self.random.randint(1, len(self.deployments)))

    def _change(self) -> None:
        for each in self.deployments:
            chance = self.random.choice((0.0, 0.1, 0.6, 1.0))
            self.weather[each.id] = (1.0 if self.fails_always else chance, self.random.choice(WEATHERS))

    # What happens.

    def _at(self, when: float, happens: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, happens))

    def _arrive(self) -> None:
        seconds = self.random.choice((0.0, 0.5, 5.0, 60.0, 60.0))
        request = Request(self.random.choice(self.plans), self.now, seconds, self.random.random)
        self._go_on(request)

    def _go_on(self, request: Request) -> None:
        while not request.is_over:
            step = request.planner.next(self.now)
            request.steps += 1
            if request.dead is not None and not (isinstance(step, Try) and step.fresh):
                tried, failure = request.dead
                request.failed.append((tried.deployment.id, failure))
                request.dead = None
            assert request.steps <= request.most_steps, "it does not end"
            if isinstance(step, GiveUp):
                self._check_end(request, step)
                self._over(request, "gave up")
            elif isinstance(step, Wait):
                assert step.seconds >= 0
                assert self.now + step.seconds < request.deadline
                self._at(self.now + step.seconds, lambda: self._go_on(request))
                return
            elif self._is_declined(request, step):
                self._check_try(request, step)
                request.planner.decline(step)
                request.declined.add(step.deployment.id)
            else:
                self._try(request, step)
                if request.tries == 1 and self.random.random() < 0.05:
                    second = request.planner.hedge(self.now)
                    if second is not None:
                        assert second.deployment is not step.deployment
                        self._try(request, second)
                return

    def _is_declined(self, request: Request, step: Try) -> bool:
        is_new = not request.at[step.deployment.id]
        return is_new and not self.fails_always and self.random.random() < 0.02

    def _try(self, request: Request, step: Try) -> None:
        self._check_try(request, step)
        if not step.fresh:
            request.tries += 1
            request.at[step.deployment.id] += 1
            request.keys.add(id(step.key.state))
        if step.is_first:
            self.firsts[step.deployment.id][int(self.now)] += 1
        if step.charged is not None:
            self._check_budget(request, step.charged)
        running = consequences.begin(
            step.deployment,
            step.key,
            self.now,
            is_first=step.is_first,
            charged=step.charged,
            tokens=request.plan.tokens,
        )
        one = (step, running)
        request.running.append(one)
        self._at(self.now + self.random.choice(SECONDS), lambda: self._end(request, one))

    def _end(self, request: Request, one: tuple[Try, Running]) -> None:
        if one not in request.running:
            return  # another one was faster, or the client went away
        random = self.random
        step, running = one
        chance, kinds = self.weather[step.deployment.id]
        if random.random() < chance:
            self._fail(request, one, random.choice(kinds))
        elif random.random() < 0.05:
            self._over(request, "the client left")
        else:
            consequences.begin_well(running, self.now)
            request.running.remove(one)
            self._over(request, "answered")
            self._at(self.now + random.choice(SECONDS), lambda: self._end_stream(running))

    def _end_stream(self, running: Running) -> None:
        if self.random.random() < 0.9:
            consequences.end_well(running, self.now)
        else:
            self._note(running, Failure(K.SERVER, "the stream broke"))
        consequences.end(running, self.now)

    def _fail(self, request: Request, one: tuple[Try, Running], kind: K) -> None:
        random = self.random
        step, running = one
        told = None if kind in OWN_FAULTS or kind is K.UNKNOWN else random.choice(WAITS)
        status = random.choice((401, 402, 403, 429)) if kind in OF_KEY else None
        is_replayable = kind is K.CONNECT and not step.fresh and random.random() < 0.3
        is_unsent = kind is K.CONNECT and not is_replayable and random.random() < 0.5
        message = random.choice("mmmno")  # two deployments that say the same end a route
        failure = Failure(kind, message, status=status, retry_after=told, is_unsent=is_unsent)
        if is_replayable:
            request.dead = step, failure
        else:
            self._note(running, failure)
            request.failed.append((step.deployment.id, failure))
        request.planner.record(failure, step, is_replayable=is_replayable)
        consequences.end(running, self.now)
        request.running.remove(one)
        if not request.running:
            self._go_on(request)

    def _note(self, running: Running, failure: Failure) -> None:
        consequences.fail(running, failure, self.now)
        seconds = failure.retry_after
        if seconds is None or seconds <= 0:
            return
        until = self.now + (seconds if seconds <= 86_400 else 900)
        who: object = running.deployment.id
        if failure.kind in OF_KEY:
            who = id(running.key.account if failure.status in (401, 402) else running.key.state)
        self.told[who] = max(self.told[who], until)

    def _over(self, request: Request, how: str) -> None:
        for _, running in request.running:
            consequences.end(running, self.now)
        request.running.clear()
        request.is_over = True
        self.outcomes[how] += 1

    # What must hold.

    def _check_try(self, request: Request, step: Try) -> None:
        assert self.now < request.deadline
        for who in (step.deployment.id, id(step.key.state), id(step.key.account)):
            assert self.now >= self.told[who], f"{who} has asked to be left alone"
        if step.fresh:
            assert request.dead is not None
            dead, _ = request.dead
            assert (dead.deployment, dead.key) == (step.deployment, step.key)
            request.dead = None
            return
        assert request.tries < request.policy.attempts
        assert step.deployment.id not in request.declined
        assert step.is_first is (request.tries == 0)
        if request.at[step.deployment.id] >= request.policy.per_deployment:
            assert id(step.key.state) not in request.keys, "the same key too often"
            id_of_last, failure = request.failed[-1]
            assert (id_of_last, failure.kind in OF_KEY) == (step.deployment.id, True)
        if not step.is_first and request.failed and not request.failed[-1][1].is_unsent and step.charged is None:
            # On credit: once, and only where there was no trouble of late.
            assert len(request.failed) == 1
            assert not step.deployment.vitals.counts.has_failed(self.now)

    def _check_budget(self, request: Request, charged: Deployment) -> None:
        now = int(self.now)
        firsts = _last(self.firsts[charged.id], now)
        self.retries[charged.id][now] += 1
        policy = request.policy
        most = max(policy.budget * firsts, policy.budget_floor_per_second * 10)
        assert _last(self.retries[charged.id], now) <= most

    def _check_end(self, request: Request, end: GiveUp) -> None:
        kinds = {failure.kind for _, failure in request.failed}
        if end.failure is None:
            assert not kinds
            assert request.declined
            assert {each.id for each in _beginnings(request.plan)} <= request.declined
            return
        assert (end.failure.retry_after or 0) >= 0
        if self.now >= request.deadline and end.failure.kind not in OWN_FAULTS:
            assert end.failure.setting == "upstream.total_seconds"
        elif kinds:
            assert end.failure.kind in kinds
            assert kinds <= LIMITS or end.failure.kind not in LIMITS


def _beginnings(plan: Plan) -> list[Deployment]:
    stages: list[Stage] = [each for each in plan.stages if each.fallback is None or each.fallback.on - OWN_FAULTS]
    return [each for stage in stages for each in stage.candidates]


def _last(counts: Counter[int], now: int) -> int:
    return sum(counts[second] for second in range(now - 9, now + 1))
