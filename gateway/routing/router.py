"""Public model name -> plan: a route of the file, else `provider/model`. Pure: a callable knows the providers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gateway.errors import UnknownModel
from gateway.routing.deployment import Deployment, Plan

MAX_CACHED = 4_096
"""Names come from clients, so what is remembered of them is bounded."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a route, or a client, names: `provider/model`, or the two apart."""

    model: str
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What a public name of the file means."""

    references: tuple[Reference, ...]
    is_strict: bool = False
    """Requests that would lose a field are refused."""


class Router:
    """Turns public names into plans and remembers them."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        *,
        deploy: Callable[[Reference], Deployment | str],
        known_names: Callable[[], Iterable[str]],
        show: Callable[[str], str],
    ) -> None:
        """`deploy` turns a reference into a deployment, or says in one sentence why there is none.

        `show` makes a name fit to be recorded: a client may have put a key where the name belongs.
        """
        self._routes = routes
        self._deploy = deploy
        self._known_names = known_names
        self.show = show
        self._plans: dict[str, Plan] = {}

    def plan(self, model: str) -> Plan:
        """Returns the candidates for a public name; raises UnknownModel with the reason and the nearest names."""
        plan = self._plans.get(model)
        if plan is None:
            plan = self._make(model)
            if len(self._plans) >= MAX_CACHED:
                self._plans.clear()
            self._plans[model] = plan
        return plan

    def forget(self) -> None:
        """Drops every remembered plan, after providers came or went."""
        self._plans.clear()

    def _make(self, model: str) -> Plan:
        found: list[Deployment] = []
        reason = ""
        route = self._routes.get(model) or Route((Reference(model),))
        for reference in route.references:
            deployment = self._deploy(reference)
            if isinstance(deployment, str):
                reason = reason or deployment
            else:
                found.append(deployment)
        if not found:
            raise UnknownModel(self._message(model, reason), param="model")
        return Plan(self.show(model), tuple(found), route.is_strict)

    def _message(self, model: str, reason: str) -> str:
        if reason:
            return f"the model {model[:128]!r} cannot be served: {reason}"
        near = difflib.get_close_matches(model, list(self._known_names()), n=3, cutoff=0.5)
        form = "" if "/" in model else "a model is named `provider/model`; "
        hint = f"did you mean {', '.join(near)}?" if near else f"{form}GET /v1/models lists what is served"
        return f"the model {model[:128]!r} does not exist; {hint}"
