"""Checks of public names: what is called how, and which name takes over from which."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.settings.document import Document, Path, as_list, as_mapping
from gateway.settings.explain import nearest, quoted

PROVIDER_AND_MODEL = re.compile(r"[^\s/]+/\S+")
WILDCARD = "*"
_SHOWN_NAMES = 8
"""Names of a cycle that a message shows."""


@dataclass(frozen=True, slots=True)
class ProviderNames:
    """Every name of a provider -> its id; names that are not here may exist unless this `is_complete`."""

    ids: Mapping[str, str]
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class _Names:
    """What a name means where a request brings it."""

    owners: Mapping[str, str]
    """Routes and aliases -> the route."""
    wildcards: Sequence[str]
    """Routes whose name has a `*`, the longest first."""
    providers: ProviderNames

    def route_of(self, name: str) -> str | None:
        """Returns the route that serves a name, "" for a model that needs none, None if nothing serves it."""
        if name in self.owners:
            return self.owners[name]
        fitting = [each for each in self.wildcards if fits(each, name)]
        for wildcard in fitting:
            if "/" in wildcard.partition(WILDCARD)[0]:
                return wildcard
        if PROVIDER_AND_MODEL.fullmatch(name) and is_provider(name.partition("/")[0], self.providers):
            return ""
        return fitting[0] if fitting else None


class Closing(NamedTuple):
    """What closes a cycle: which edge of `node`, and the way round, which begins and ends with the same name."""

    node: str
    edge: int
    way: list[str]


def is_provider(name: str, providers: ProviderNames) -> bool:
    """Returns whether `name` may be a provider's: known, `custom:URL`, or not knowable."""
    return not providers.is_complete or name in providers.ids or ":" in name


def check_names(document: Document, providers: ProviderNames) -> None:
    """Adds faults of routes' names and aliases, of what fallbacks and mirrors name, and of cycles among fallbacks."""
    routes = {name: as_mapping(route) for name, route in as_mapping(document.root.get("routes")).items()}
    wildcards = sorted((name for name in routes if WILDCARD in name), key=len, reverse=True)
    names = _Names(_owners(document, routes), wildcards, providers)
    graph: dict[str, list[str]] = {}
    places: dict[str, list[Path]] = {}
    for name, route in routes.items():
        _check_wildcards(document, name, route)
        mirror = as_mapping(route.get("mirror")).get("to")
        if isinstance(mirror, str):
            path: Path = ("routes", name, "mirror", "to")
            if _check_target(document, path, mirror, names) == name and path not in document.broken:
                document.add(path, "is the route itself; every request would go there twice")
        found = list(_fallbacks(name, route))
        graph[name] = [_check_target(document, path, target, names) for path, target in found]
        places[name] = [path for path, _ in found]
    for path, model in _of_chats(document):
        _check_target(document, path, model, names)
    for closing in closings(graph):
        text = f"the fallbacks go round in a circle: {' -> '.join(_shortened(closing.way))}"
        document.add(places[closing.node][closing.edge], text)


def closings(graph: Mapping[str, Sequence[str]]) -> Iterator[Closing]:
    """Yields edges without which the graph has no cycle, each with a cycle that it closes; unknown nodes end a way."""
    done: set[str] = set()
    for start in graph:
        if start in done:
            continue
        way, position = [start], {start: 0}
        # Not recursive, since a file may chain more routes than the stack is deep.
        pending = [enumerate(graph[start])]
        while pending:
            for edge, to in pending[-1]:
                if to in position:
                    yield Closing(way[-1], edge, [*way[position[to] :], to])
                elif to in graph and to not in done:
                    position[to] = len(way)
                    way.append(to)
                    pending.append(enumerate(graph[to]))
                    break
            else:
                pending.pop()
                done.add(way[-1])
                del position[way.pop()]


def _shortened(way: list[str]) -> list[str]:
    return way if len(way) <= _SHOWN_NAMES else [*way[: _SHOWN_NAMES - 2], "...", way[-1]]


def _owners(document: Document, routes: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Returns the route of every public name, and adds a fault for each alias that is taken already."""
    owners = {name: name for name in routes}
    for name, route in routes.items():
        for index, alias in enumerate(as_list(route.get("aliases"))):
            path: Path = ("routes", name, "aliases", index)
            if not isinstance(alias, str) or path in document.broken:
                continue
            said = quoted(document, path, alias)
            if WILDCARD in name:
                document.add(path, f"the route {name!r} can have no alias: nothing would be there for its `*`")
            elif WILDCARD in alias:
                document.add(path, f"an alias must have no `*`, got {said}; give it a route of its own")
            elif alias in routes:
                document.add(path, f"{said} is the name of a route already")
            elif alias in owners:
                whose = "this route" if owners[alias] == name else f"the route {owners[alias]!r}"
                document.add(path, f"{said} is an alias of {whose} already")
            else:
                owners[alias] = name
    return owners


def _check_wildcards(document: Document, name: str, route: Mapping[str, object]) -> None:
    stars = name.count(WILDCARD)
    if stars > 1 and ("routes", name) not in document.broken:
        document.add(("routes", name), f"a route's name may have one `*`, got {name!r}", at_key=True)
    for index, deployment in enumerate(as_list(route.get("deployments"))):
        path: Path = ("routes", name, "deployments", index, "model")
        model = as_mapping(deployment).get("model")
        if not isinstance(model, str) or WILDCARD not in model or path in document.broken:
            continue
        said = quoted(document, path, model)
        if not stars:
            document.add(path, f"{said} has a `*`, which needs one in the route's name to stand for")
        elif model.count(WILDCARD) > 1:
            document.add(path, f"a deployment's model may have one `*`, got {said}")


def _fallbacks(name: str, route: Mapping[str, object]) -> Iterator[tuple[Path, str]]:
    for index, entry in enumerate(as_list(route.get("fallbacks"))):
        path: Path = ("routes", name, "fallbacks", index)
        target = as_mapping(entry).get("route")
        if isinstance(entry, str):
            yield path, entry
        elif isinstance(target, str):
            yield (*path, "route"), target


def _of_chats(document: Document) -> Iterator[tuple[Path, str]]:
    """Yields every model that an integration names, and where."""
    at: Path = ("integrations", "discord")
    discord = as_mapping(as_mapping(document.root.get("integrations")).get("discord"))
    guilds = as_mapping(discord.get("guilds"))
    found: list[tuple[Path, object]] = [((*at, "model"), discord.get("model"))]
    found += [((*at, "models", index), model) for index, model in enumerate(as_list(discord.get("models")))]
    found += [((*at, "guilds", id, "model"), as_mapping(guild).get("model")) for id, guild in guilds.items()]
    found.append(((*at, "elsewhere", "model"), as_mapping(discord.get("elsewhere")).get("model")))
    yield from ((path, model) for path, model in found if isinstance(model, str))


def _check_target(document: Document, path: Path, target: str, names: _Names) -> str:
    """Returns the route that serves `target`, "" if none does or needs to."""
    if path in document.broken:
        return ""
    said = quoted(document, path, target)
    if WILDCARD in target:
        document.add(path, f"must be one model, got {said}; name what its `*` should stand for")
        return ""
    route = names.route_of(target)
    if route is None:
        hint = nearest(target, names.owners) or _nearest_provider(target, names.providers)
        document.add(path, f"no route is called {said}, and it is no model of a known provider{hint}")
    return route or ""


def _nearest_provider(target: str, providers: ProviderNames) -> str:
    provider, slash, _ = target.partition("/")
    hint = nearest(provider.lower(), providers.ids) if slash else ""
    return hint or "; name a route, an alias or provider/model"


def fits(name: str, target: str) -> bool:
    """Returns whether a name with a `*` stands for `target`, too; the `*` is at least one character."""
    head, star, tail = name.partition(WILDCARD)
    return bool(star) and target.startswith(head) and target.endswith(tail) and len(target) > len(head) + len(tail)
