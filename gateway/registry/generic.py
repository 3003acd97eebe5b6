"""A key for all providers: the variables that hold it, and who may get it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gateway.registry.registry import Registry, names_url
from gateway.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Generic:
    """Variables with a key for all, and the ids of those that may get it: never one that nobody asked for."""

    variables: tuple[str, ...] = ()
    providers: frozenset[str] = frozenset()


NO_GENERIC = Generic()


def generic_of(settings: Settings, registry: Registry, built_in: Collection[str]) -> Generic:
    """Returns what the settings say: for providers of the built-in table that the file names, in whatever place."""
    if not settings.credentials.generic_variables:
        return NO_GENERIC
    deployments = [each for route in settings.routes.values() for each in route.deployments]
    names = [said.provider or said.model.partition("/")[0] for said in deployments]
    found = (registry.get(name) for name in names if not names_url(name))
    wanted = {*settings.providers, *(named.spec.id for named in found if named is not None)}
    return Generic(tuple(settings.credentials.generic_variables), frozenset(wanted.intersection(built_in)))
