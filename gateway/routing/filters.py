"""Which deployments of a route a request may have at all, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.routing.asking import Asking
from gateway.routing.deployment import Deployment
from gateway.routing.route import Route, Rule

NOTHING: Final[Mapping[str, str]] = {}
PARAM_OF: Final[Mapping[str, str]] = {
    "tools": "tools",
    "json_schema": "response_format",
    "images": "messages",
    "audio": "messages",
}
"""The request's member that uses a feature."""


def fitting(route: Route, asking: Asking) -> tuple[Sequence[Deployment], Mapping[str, str]]:
    """Returns the deployments that may serve a request, and for each other its id with the reason.

    A context window rules a deployment out only while another is large enough: the count of tokens is a guess, and
    the upstream's own word on it is better than ours.
    """
    if asking.call.operation in route.serves_all and _needed(asking) < route.narrowest:
        return route.deployments, NOTHING
    rule = next((rule for rule in route.rules if applies(rule, asking)), None)
    fit: list[Deployment] = []
    others: dict[str, str] = {}
    for deployment in route.deployments:
        reason = _reason(deployment, rule, asking)
        if reason:
            others[deployment.id] = reason
        else:
            fit.append(deployment)
    if any(deployment.context_window is not None for deployment in fit):
        wide = [deployment for deployment in fit if not _is_too_small(deployment, asking)]
        if wide and len(wide) < len(fit):
            for deployment in fit:
                if deployment not in wide:
                    others[deployment.id] = (
                        f"its context window of {deployment.context_window} tokens is smaller than the request "
                        f"(about {_needed(asking)})"
                    )
            fit = wide
    return fit, others


def applies(rule: Rule, asking: Asking) -> bool:
    """True if a rule is for this request: all of its conditions hold."""
    for name, value in rule.headers:
        told = asking.headers.get(name)
        if told is None or (value != "*" and told.decode("latin-1") != value):
            return False
    if rule.keys and asking.key_name not in rule.keys:
        return False
    return not rule.tags or not rule.tags.isdisjoint(asking.tags)


def _reason(deployment: Deployment, rule: Rule | None, asking: Asking) -> str:
    if rule is not None and rule.use.isdisjoint(deployment.tags):
        return f"a rule sends this request to deployments tagged {' or '.join(sorted(rule.use))}"
    if not deployment.offers(asking.call.operation):
        return f"{deployment.provider} has no {asking.call.operation}"
    if deployment.supports is not None and (lacking := asking.uses - deployment.supports):
        return f"it does not support {' and '.join(sorted(lacking))}"
    return ""


def _is_too_small(deployment: Deployment, asking: Asking) -> bool:
    return deployment.context_window is not None and deployment.context_window < _needed(asking)


def _needed(asking: Asking) -> int:
    return asking.prompt_tokens() + asking.answer_tokens()
