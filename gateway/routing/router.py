"""Public model name -> plan. Pure: callables know the routes and providers, the time and chance.

A name is, in this order: a route's, an alias, what a wildcard with a provider's name in front stands for (`openai/*`),
`provider/model`, what any other wildcard stands for. Of two wildcards the longer one counts.
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from gateway.errors import UnknownModel, UnsupportedOperation, UnsupportedParameter
from gateway.routing.asking import Asking
from gateway.routing.balance import Random, order
from gateway.routing.deployment import Deployment
from gateway.routing.filters import PARAM_OF, fitting
from gateway.routing.route import Fallback, Plan, Route, Stage

MAX_CACHED = 4_096
"""Names come from clients, so what is remembered of them is bounded."""
_MOST_COMPARED = 50
"""Names that are held closely against an unknown one: everybody else waits meanwhile."""
_MOST_CHARS = 64


class Routes(Protocol):
    """Makes routes of what the file says."""

    names: Mapping[str, str]
    """Public name or alias -> the route's name; none of them has a `*`."""
    wildcards: Sequence[str]
    """Names of routes that have a `*`."""

    def route(self, name: str, star: str) -> Route | str:
        """Returns a route of the file, with `star` for every `*`, or says in one sentence why it cannot be served."""
        ...

    def single(self, model: str) -> Route | str:
        """Returns the route that `provider/model` is, or one sentence that says why there is none."""
        ...


class Router:
    """Turns public names into plans and remembers what they mean."""

    def __init__(
        self,
        routes: Routes,
        *,
        known_names: Callable[[], Iterable[str]],
        show: Callable[[str], str],
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        """`show` makes a name fit to be recorded: a client may have put a key where the name belongs.

        `clock` gives monotonic seconds.
        """
        self._routes = routes
        self._known_names = known_names
        self.show = show
        self._clock = clock
        self._random = random
        self._chains: dict[str, Chain] = {}

    def plan(self, model: str, asking: Asking) -> Plan:
        """Returns what a request for a public name may try.

        Raises UnknownModel with the reason and the nearest names, or what says which of the request's wishes none of
        the deployments can fulfil.
        """
        chain = self.chain(model)
        if chain.plan is not None:
            return chain.plan
        return planned(chain, asking, self._clock(), self._random)

    def chain(self, model: str) -> Chain:
        """Returns the route of a public name and those that take over from it; raises UnknownModel."""
        chain = self._chains.get(model)
        if chain is None:
            chain = self._make(model)
            if len(self._chains) >= MAX_CACHED:
                self._chains.clear()
            self._chains[model] = chain
        return chain

    def remembered(self) -> list[Chain]:
        """Returns what the names mean that requests have used so far, or the most recent thousands of them."""
        return list(self._chains.values())

    def forget(self) -> None:
        """Drops every remembered name, after providers came or went."""
        self._chains.clear()

    def _make(self, model: str) -> Chain:
        kind, route = self._find(model)
        if isinstance(route, str):
            raise UnknownModel(self._message(model, route), param="model")
        links: list[tuple[Route, Fallback]] = []
        self._follow(route, links)
        return Chain(self.show(model), kind, route, links)

    def _follow(self, route: Route, links: list[tuple[Route, Fallback]]) -> None:
        seen = {route.name}
        # Not recursive, since a file may chain more routes than the stack is deep.
        pending = list(reversed(route.fallbacks))
        while pending:
            fallback = pending.pop()
            _, found = self._find(fallback.model)
            if isinstance(found, str) or found.name in seen:
                continue  # why it cannot be served is said at start; whatever else is there takes over
            seen.add(found.name)
            links.append((found, fallback))
            pending += reversed(found.fallbacks)

    def _find(self, model: str) -> tuple[str, Route | str]:
        """Returns what kind of name it is, and its route, or why there is none."""
        routes = self._routes
        name = routes.names.get(model)
        if name is not None:
            return ("route" if name == model else f"alias of {name}"), routes.route(name, "")
        patterns = [pattern for pattern in routes.wildcards if _matches(pattern, model)]
        patterns.sort(key=len, reverse=True)
        for pattern in patterns:
            if "/" in pattern.partition("*")[0]:
                return f"wildcard {pattern}", routes.route(pattern, _star(pattern, model))
        single = routes.single(model)
        if isinstance(single, str) and patterns:
            return f"wildcard {patterns[0]}", routes.route(patterns[0], _star(patterns[0], model))
        return "provider/model", single

    def _message(self, model: str, reason: str) -> str:
        shown = self.show(model)[:128]
        if reason:
            return f"the model {shown!r} cannot be served: {reason}"
        near = _nearest(model[:_MOST_CHARS], list(self._known_names()))
        form = "" if "/" in model else "a model is named `provider/model`; "
        hint = f"did you mean {', '.join(near)}?" if near else f"{form}GET /v1/models lists what is served"
        return f"the model {shown!r} does not exist; {hint}"


class Chain:
    """A route and those that take over from it; `plan` is there if every request gets the same."""

    __slots__ = ("kind", "links", "needs_count", "plan", "route", "shown")

    def __init__(self, shown: str, kind: str, route: Route, links: Sequence[tuple[Route, Fallback]]) -> None:
        self.shown = shown
        """The public name, fit to be recorded."""
        self.kind = kind
        """What kind of name it is: a route's, an alias of one, what a wildcard stands for, `provider/model`."""
        self.route = route
        self.links = links
        self.needs_count = route.is_limited or any(link.is_limited for link, _ in links)
        self.plan: Plan | None = None
        if route.is_plain and not links:
            self.plan = Plan(shown, (Stage(route),), route.is_strict)


def planned(chain: Chain, asking: Asking, now: float, random: Random) -> Plan:
    """Returns what one request may try; raises what says which of its wishes none of the deployments can fulfil."""
    first, others = fitting(chain.route, asking)
    stages = [Stage(chain.route, candidates=order(chain.route, first, asking, now, random))]
    for route, fallback in chain.links:
        stages.append(Stage(route, partial(_order, route, asking, now, random), fallback=fallback))
    if not first and not any(stage.candidates for stage in stages if stage.fallback and stage.fallback.may_begin):
        raise _unfit(chain, asking, others)
    tokens = asking.prompt_tokens() + asking.answer_tokens() if chain.needs_count else 0
    return Plan(chain.shown, tuple(stages), chain.route.is_strict, tokens)


def _order(route: Route, asking: Asking, now: float, random: Random) -> Sequence[Deployment]:
    return order(route, fitting(route, asking)[0], asking, now, random)


def _unfit(chain: Chain, asking: Asking, others: Mapping[str, str]) -> UnsupportedOperation | UnsupportedParameter:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in others.items())
    message = f"none of the deployments of {chain.shown!r} can serve this request: {reasons}"
    if not any(each.offers(asking.call.operation) for each in chain.route.deployments):
        return UnsupportedOperation(message, param="model")
    supported = [each.supports for each in chain.route.deployments if each.supports is not None]
    lacking = next(
        (name for name in PARAM_OF if name in asking.uses and any(name not in each for each in supported)), ""
    )
    return UnsupportedParameter(message, param=PARAM_OF.get(lacking, "model"))


def _nearest(model: str, names: Sequence[str]) -> list[str]:
    """Returns up to three names like `model`, of many only of those that have most pairs of letters of it."""
    if len(names) > _MOST_COMPARED:
        pairs = {model[at : at + 2] for at in range(len(model) - 1)}
        names = heapq.nlargest(_MOST_COMPARED, names, key=lambda name: sum(pair in name for pair in pairs))
    return difflib.get_close_matches(model, names, n=3, cutoff=0.5)


def _matches(pattern: str, model: str) -> bool:
    before, _, after = pattern.partition("*")
    return len(model) > len(before) + len(after) and model.startswith(before) and model.endswith(after)


def _star(pattern: str, model: str) -> str:
    before, _, after = pattern.partition("*")
    return model[len(before) : len(model) - len(after)]
