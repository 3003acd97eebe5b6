"""What differs between two configurations is told by names, and never by values."""

from __future__ import annotations

from typing import Any

from gateway.reload.changes import changes_between, with_fixed
from gateway.settings.model import Settings

OPENAI: Any = {"deployments": [{"model": "openai/gpt-4.1"}]}
GROQ: Any = {"deployments": [{"model": "groq/llama"}]}


def settings(**said: Any) -> Settings:
    return Settings.model_validate(said)


def test_nothing_is_nothing() -> None:
    said = {"routes": {"a": OPENAI}, "server": {"api_keys": ["key-one", {"key": "key-two", "name": "two"}]}}
    assert changes_between(settings(**said), settings(**said)).text() == "the file says what it said before"


def test_routes_and_providers_come_go_and_change() -> None:
    old = settings(routes={"a": OPENAI, "b": OPENAI}, providers={"groq": {"timeout_seconds": 5}})
    new = settings(routes={"b": GROQ, "c": OPENAI}, providers={"groq": {"timeout_seconds": 6}, "openai": {}})
    changes = changes_between(old, new)
    assert (changes.routes.added, changes.routes.removed, changes.routes.changed) == (["c"], ["a"], ["b"])
    assert (changes.providers.added, changes.providers.changed) == (["openai"], ["groq"])
    assert changes.text() == (
        "routes: 1 added (c), 1 removed (a), 1 changed (b); providers: 1 added (openai), 1 changed (groq)"
    )


def test_keys_are_told_by_name_or_by_number() -> None:
    old = settings(server={"api_keys": ["canary-1", "canary-2", {"key": "canary-3", "name": "team"}]})
    new = settings(server={"api_keys": ["canary-2", "canary-4", "canary-5", {"key": "canary-6", "name": "team"}]})
    changes = changes_between(old, new)
    assert (changes.nameless_keys_added, changes.nameless_keys_removed) == (2, 1)
    assert changes.client_keys.changed == ["team"]
    assert "canary" not in repr(changes) + changes.text()


def test_what_waits_for_another_start_keeps_its_value_until_then() -> None:
    old = settings(server={"port": 1, "access_log": "off"}, admin={"port": 2, "key": "canary-1"})
    new = settings(server={"port": 3, "max_in_flight": 9}, upstream={"total_seconds": 9})
    changes = changes_between(old, new)
    assert changes.needs_restart == ["server.port", "server.access_log", "admin.port"]
    assert changes.settings == ["server.max_in_flight", "upstream.total_seconds", "admin.key"]
    kept = with_fixed(old, new)
    assert (kept.server.port, kept.server.access_log, kept.server.max_in_flight) == (1, "off", 9)
    assert kept.admin == old.admin  # a door that stays open keeps its lock
    assert kept.upstream == new.upstream


def test_many_names_are_cut_short() -> None:
    new = settings(routes={f"route-{number:02}": OPENAI for number in range(30)})
    assert changes_between(settings(), new).text().endswith("route-19, and 10 more)")
