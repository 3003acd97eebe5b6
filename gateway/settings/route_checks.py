"""Checks of what stands inside a route, and of deployments that several routes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.settings.document import Document, Path, as_list, as_mapping, as_number
from gateway.settings.explain import nearest, quoted
from gateway.settings.key_checks import client_key_names
from gateway.settings.name_checks import WILDCARD, ProviderNames, fits

Deployments = Sequence[Mapping[str, object]]
_OF_ITS_OWN = ("keys", "profile", "limits", "timeouts", "context_window", "supports", "price")
"""What belongs to a deployment wherever it is used; weight, order and tags belong to the route."""


class _Called(NamedTuple):
    """A deployment that has been seen: in which route, where in the file, and how it is configured."""

    route: str
    path: Path
    configuration: Mapping[str, object]

    def differing(self, other: _Called, parts: Sequence[str]) -> str:
        """Returns the settings among `parts` that are not the same."""
        return " and ".join(part for part in parts if self.configuration[part] != other.configuration[part])


def check_routes(document: Document, providers: ProviderNames) -> None:
    """Adds faults of routes whose settings contradict each other."""
    key_names = client_key_names(document)
    called: dict[str, _Called] = {}
    for name, value in as_mapping(document.root.get("routes")).items():
        route = as_mapping(value)
        deployments = [as_mapping(each) for each in as_list(route.get("deployments"))]
        _check_called(document, name, deployments, called, providers.ids)
        _check_weights(document, name, deployments)
        _check_strategy(document, name, route, deployments)
        for index, rule in enumerate(as_list(route.get("rules"))):
            path: Path = ("routes", name, "rules", index)
            _check_use(document, path, as_mapping(rule), deployments)
            _check_key_names(document, path, as_mapping(rule), key_names)
    _check_wildcards(document, called)


def _check_called(
    document: Document, route: str, deployments: Deployments, called: dict[str, _Called], ids: Mapping[str, str]
) -> None:
    for index, deployment in enumerate(deployments):
        path: Path = ("routes", route, "deployments", index)
        model, name = _model(deployment, ids), deployment.get("name")
        if model is None or path in document.broken:
            continue
        public = name if isinstance(name, str) else model
        at = (*path, "name" if public is name else "model")
        configuration = {"model": model, **{part: _plain(deployment.get(part)) for part in _OF_ITS_OWN}}
        this = _Called(route, at, configuration)
        first = called.setdefault(public, this)
        if first is this or at in document.broken:
            continue
        said = quoted(document, at, public)
        if first.route == route:
            document.add(at, f"this route has another deployment called {said}; give each a `name` of its own")
        elif differing := this.differing(first, ("model", *_OF_ITS_OWN)):
            document.add(
                at,
                f"the route {first.route!r} has a deployment called {said} as well, with other {differing}; "
                "give one of them a `name` of its own",
            )


def _check_wildcards(document: Document, called: Mapping[str, _Called]) -> None:
    """Adds a fault for each deployment that is one of those a deployment with a `*` stands for, and configured else."""
    for name, wild in called.items():
        if WILDCARD not in name:
            continue
        for other, one in called.items():
            if not fits(name, other) or one.path in document.broken:
                continue
            if differing := one.differing(wild, _OF_ITS_OWN):
                said = quoted(document, one.path, other)
                document.add(
                    one.path,
                    f"the route {wild.route!r} has {said} as well, as {name!r} with other {differing}; "
                    "give one of them a `name` of its own",
                )


def _model(deployment: Mapping[str, object], ids: Mapping[str, str]) -> str | None:
    """Returns `provider/model` with the provider's id."""
    provider, model = deployment.get("provider"), deployment.get("model")
    if provider is None and isinstance(model, str):
        provider, _, model = model.partition("/")
    if not isinstance(provider, str) or not isinstance(model, str):
        return None
    return f"{ids.get(provider, provider)}/{model}"


def _plain(value: object) -> object:
    """Returns the same for all that means the same: nothing and null, an empty mapping and none."""
    given = {name: part for name, part in as_mapping(value).items() if part is not None}
    return given or (None if isinstance(value, dict) else value)


def _check_weights(document: Document, name: str, deployments: Deployments) -> None:
    weights = [as_number(each.get("weight", 1)) for each in deployments]
    path: Path = ("routes", name, "deployments")
    if weights and not any(weight != 0 for weight in weights) and path not in document.broken:
        document.add(path, "every deployment has the weight 0; give at least one of them more")


def _check_strategy(document: Document, name: str, route: Mapping[str, object], deployments: Deployments) -> None:
    path: Path = ("routes", name, "sticky_by")
    strategy = route.get("strategy", "weighted")
    is_known = isinstance(strategy, str) and ("routes", name, "strategy") not in document.broken
    if "sticky_by" in route and is_known and strategy != "sticky" and path not in document.broken:
        document.add(path, f"is for the strategy sticky, and this route's is {strategy}; set `strategy: sticky`")
    path = ("routes", name, "hedge")
    if route.get("hedge") is not None and len(deployments) == 1 and path not in document.broken:
        document.add(path, "needs a second deployment to ask; this route has one", at_key=True)


def _check_use(document: Document, path: Path, rule: Mapping[str, object], deployments: Deployments) -> None:
    tags = {tag for each in deployments for tag in as_list(each.get("tags")) if isinstance(tag, str)}
    for index, tag in enumerate(as_list(rule.get("use"))):
        at: Path = (*path, "use", index)
        if isinstance(tag, str) and tag not in tags and at not in document.broken:
            document.add(at, f"no deployment of this route has the tag {quoted(document, at, tag)}{nearest(tag, tags)}")


def _check_key_names(document: Document, path: Path, rule: Mapping[str, object], names: Mapping[str, int]) -> None:
    for index, name in enumerate(as_list(as_mapping(rule.get("when")).get("keys"))):
        at: Path = (*path, "when", "keys", index)
        if isinstance(name, str) and name not in names and at not in document.broken:
            # Not shown: it may be a key in the place of its name.
            document.add(at, f"no client key in server.api_keys has this name{nearest(name, names)}")
