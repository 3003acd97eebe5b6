"""What differs between two configurations: names and counts, never a value, since that may be a secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct
from pydantic import BaseModel

from gateway.secret import Secret
from gateway.settings.model import ClientKeyEntry, ClientKeySettings, Settings

FIXED: Final = (
    "server.host",
    "server.port",
    "server.allowed_hosts",
    "server.max_body_bytes",
    "server.drain_delay_seconds",
    "server.grace_seconds",
    "server.metrics_port",
    "server.access_log",
    "admin.port",
    "admin.host",
    "storage.url",
    "storage.directory",
    "storage.retention_days",
    "storage.content_days",
    "storage.aggregates_days",
    "storage.journal_max_bytes",
    "storage.on_ledger_failure",
    "access.pepper",
)
"""Settings that only another start changes."""
_BY_NAME: Final = ("providers", "routes")
_SHOWN: Final = 20
"""Most names in one line of the log."""


class Difference(Struct, frozen=True):
    """Names that came, went, and stand for something else now."""

    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    changed: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Changes(Struct, frozen=True):
    """What another configuration changes."""

    routes: Difference
    providers: Difference
    client_keys: Difference
    """Those that have a name."""
    nameless_keys_added: int
    nameless_keys_removed: int
    settings: Sequence[str]
    """All others, by their path."""
    needs_restart: Sequence[str]
    """Settings that were changed and stay as they were until another start."""

    def text(self) -> str:
        """Returns one line."""
        parts = [_words(name, each) for name, each in self._differences() if each]
        added, removed = self.nameless_keys_added, self.nameless_keys_removed
        if added or removed:
            parts.append(f"client keys without a name: {added} added, {removed} removed")
        if self.settings:
            parts.append(f"settings: {_listed(self.settings)}")
        if self.needs_restart:
            parts.append(f"only another start changes {_listed(self.needs_restart)}")
        return "; ".join(parts) or "the file says what it said before"

    def _differences(self) -> Iterator[tuple[str, Difference]]:
        yield from (("routes", self.routes), ("providers", self.providers), ("client keys", self.client_keys))


def changes_between(old: Settings, new: Settings) -> Changes:
    """Returns what `new` says that `old`, which is in use, does not."""
    before, after = old.server.api_keys, new.server.api_keys
    gone, come = _nameless(before), _nameless(after)
    paths = list(_paths(old, new))
    return Changes(
        routes=_difference(old.routes, new.routes),
        providers=_difference(old.providers, new.providers),
        client_keys=_difference(_named(before), _named(after)),
        nameless_keys_added=(come - gone).total(),
        nameless_keys_removed=(gone - come).total(),
        settings=[path for path in paths if path not in FIXED],
        needs_restart=[path for path in paths if path in FIXED],
    )


def with_fixed(old: Settings, new: Settings) -> Settings:
    """Returns `new` with those values of `old` that only another start changes."""
    kept: dict[str, dict[str, object]] = {}
    for path in FIXED:
        section, _, name = path.partition(".")
        kept.setdefault(section, {})[name] = getattr(getattr(old, section), name)
    if new.admin.key is None:
        kept["admin"]["key"] = old.admin.key
    sections = {name: getattr(new, name).model_copy(update=values) for name, values in kept.items()}
    return new.model_copy(update=sections)


def _paths(old: Settings, new: Settings) -> Iterator[str]:
    for section in Settings.model_fields:
        if section in _BY_NAME:
            continue
        before, after = getattr(old, section), getattr(new, section)
        if not isinstance(before, BaseModel):
            if before != after:
                yield section
            continue
        for name in type(before).model_fields:
            path = f"{section}.{name}"
            if path != "server.api_keys" and getattr(before, name) != getattr(after, name):
                yield path


def _difference(old: Mapping[str, object], new: Mapping[str, object]) -> Difference:
    return Difference(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
    )


def _named(entries: Iterable[ClientKeyEntry]) -> dict[str, object]:
    named: dict[str, list[ClientKeySettings]] = {}
    for entry in entries:
        if isinstance(entry, ClientKeySettings):
            named.setdefault(entry.name, []).append(entry)
    return dict(named)


def _nameless(entries: Iterable[ClientKeyEntry]) -> Counter[Secret]:
    return Counter(entry for entry in entries if isinstance(entry, Secret))


def _words(what: str, difference: Difference) -> str:
    parts = (("added", difference.added), ("removed", difference.removed), ("changed", difference.changed))
    said = (f"{len(names)} {verb} ({_listed(names)})" for verb, names in parts if names)
    return f"{what}: {', '.join(said)}"


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
