"""Plugins by their names: what installed packages offer under `anyport.adapters` and `anyport.hooks`.

Nothing of a package runs because it is installed: only names that the settings have are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from inspect import iscoroutinefunction
from typing import Any, Final

from adapters.types import Adapter
from gateway.errors import ConfigError, Fault
from gateway.plugins.hooks import Hook

ADAPTERS: Final = "anyport.adapters"
HOOKS: Final = "anyport.hooks"
_MEMBERS: Final[Mapping[str, Mapping[str, type]]] = {
    ADAPTERS: {"protocol": str, "operations": frozenset, "paths": Mapping, "fidelity": Mapping},
    HOOKS: {},
}
_METHODS: Final[Mapping[str, Sequence[str]]] = {
    ADAPTERS: ("parts", "request", "reply", "stream", "failure"),
    HOOKS: ("attempt_ended", "request_ended"),
}
_SHOWN_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Plugin:
    """What one name stands for: a protocol, a hook, or both."""

    adapter: Adapter | None
    hook: Hook | None


class Plugins:
    """The plugins of one configuration."""

    def __init__(self, plugins: Mapping[str, Plugin]) -> None:
        self.by_name = plugins

    @property
    def adapters(self) -> dict[str, Adapter]:
        """Protocol -> what speaks it."""
        return {each.adapter.protocol: each.adapter for each in self.by_name.values() if each.adapter is not None}

    @property
    def hooks(self) -> dict[str, Hook]:
        """Plugin -> its hook."""
        return {name: each.hook for name, each in self.by_name.items() if each.hook is not None}


def load_plugins(names: Sequence[str], protocols: Collection[str], before: Plugins | None = None) -> Plugins:
    """Returns the plugins that the settings name; raises ConfigError naming every one that cannot be used.

    `protocols` are taken already. One that is in `before` is not made again.
    """
    known: Mapping[str, Plugin] = before.by_name if before else {}
    loaded: dict[str, Plugin] = {}
    speakers = dict.fromkeys(protocols, "Anyport itself")
    faults: list[Fault] = []
    for index, name in enumerate(names):
        try:
            if name in loaded:
                raise ValueError(f"the plugin {name!r} is named twice")
            plugin = known.get(name) or _load(name)
            if plugin.adapter is not None:
                protocol = plugin.adapter.protocol
                if (owner := speakers.setdefault(protocol, name)) != name:
                    raise ValueError(f"the plugin {name!r} speaks the protocol {protocol!r}, and so does {owner}")
            loaded[name] = plugin
        except ValueError as error:
            faults.append(Fault("anyport.yaml", 0, 0, f"plugins.{index}", str(error)))
    if faults:
        raise ConfigError(faults)
    return Plugins(loaded)


def _load(name: str) -> Plugin:
    """Returns the plugin called `name`; raises ValueError."""
    found = {group: _entry_point(group, name) for group in (ADAPTERS, HOOKS)}
    if not any(found.values()):
        installed = sorted({each.name for group in found for each in entry_points(group=group)})
        offered = f"those that are installed: {', '.join(installed)}" if installed else "none is installed"
        raise ValueError(f"no installed package offers the plugin {name!r}; {offered}")
    adapter, hook = (_make(entry, group) if entry else None for group, entry in found.items())
    return Plugin(adapter, hook)


def _entry_point(group: str, name: str) -> EntryPoint | None:
    # A package that is found by two ways is one package.
    found = {entry.value: entry for entry in entry_points(group=group, name=name)}
    if len(found) > 1:
        raise ValueError(f"several packages offer the plugin {name!r}: {', '.join(map(_source, found.values()))}")
    return next(iter(found.values()), None)


def _source(entry: EntryPoint) -> str:
    dist = entry.dist
    return f"{dist.name} {dist.version}" if dist else entry.value


def _make(entry: EntryPoint, group: str) -> Any:
    try:
        factory: Callable[[], Any] = entry.load()
        made = factory()
    except Exception as error:  # code that we did not write may raise anything
        said = f"{type(error).__name__}: {error}"[:_SHOWN_CHARACTERS]
        raise ValueError(f"the plugin {entry.name!r} ({_source(entry)}) cannot be loaded: {said}") from error
    lacks = [name for name, kind in _MEMBERS[group].items() if not isinstance(getattr(made, name, None), kind)]
    methods = {name: getattr(made, name, None) for name in _METHODS[group]}
    lacks += [name for name, method in methods.items() if not callable(method) or iscoroutinefunction(method)]
    if lacks:
        what = f"no usable `{'`, `'.join(lacks)}`, which {group} must have"
        raise ValueError(f"the plugin {entry.name!r} ({_source(entry)}) has {what}")
    return made
