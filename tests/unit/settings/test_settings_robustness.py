"""Whatever a file holds, loading gives settings or a ConfigError, and shows no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.settings.load import load_settings

KNOWN = {"openai": "openai", "groq": "groq"}
KEY = "sk-do-not-show"
WHOLE = f"""\
server: {{host: 127.0.0.1, api_keys: ["${{KEY}}", {{key: {KEY}-a, name: n, tags: [t]}}], access_log: off, port: 1}}
providers:
  my-vllm: {{base_url: "http://127.0.0.1:8000/v1", rules: {{clamp: {{temperature: [0, 2]}}}}, aliases: [a@b]}}
  openai: {{credentials: [{KEY}], headers: {{x-key: {KEY}}}}}
routes:
  fast: &x {{deployments: [{{model: groq/llama, tags: [e], limits: {{max_in_flight: 1}}}}], strategy: sticky, hedge: ~}}
  slow: *x
  slower: {{deployments: [{{model: groq/llama-2}}], aliases: [every, "a/b"]}}
  "all-*":
    deployments: [{{model: groq/all-*, weight: 0}}, {{model: my-vllm/*, name: m, keys: [{KEY}], tags: [e]}}]
    fallbacks: [fast, {{route: groq/b, fallback_on: [any]}}]
    rules: [{{when: {{keys: [n], headers: {{x: {KEY}}}}}, use: [e]}}]
    hedge: {{}}
    mirror: {{to: slow}}
upstream: {{transport: httpx, connect_seconds: 2.5}}
health: {{ejection_seconds: 1}}
state: {{url: "redis://u:{KEY}@h:1/0"}}
admin: {{port: 2, key: {KEY}-b}}
discovery: {{enabled: true}}
"""
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "\n",
    "  ",
    "'",
    '"',
    "${KEY}",
    "${",
    "$$",
    "&a",
    "*a",
    "!x ",
    "~",
    "1",
    "true",
]
NAMES = ["server", "port", "routes", "providers", "openai", "credentials", "rules", "deployments", "model", "a/b"]
NAMES += ["fallbacks", "aliases", "every", "fast", "slow", "when", "keys", "route", "weight", "hedge", "mirror", "key"]
fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    try:
        load_settings(file, {"KEY": KEY}, KNOWN)
    except ConfigError as error:
        assert error.faults
        assert all(fault.line <= text.count("\n") + 2 for fault in error.faults)


@fast
@given(parts=st.lists(st.sampled_from([*PIECES, *NAMES, "\t", "\x00", "é", "\ufeff", "---"]), max_size=40))
def test_any_text_is_settings_or_a_config_error(tmp_path: Path, parts: list[str]) -> None:
    load(tmp_path / "a.yaml", "".join(parts))


@fast
@given(at=st.integers(0, len(WHOLE) - 1), cut=st.integers(0, 12), put=st.sampled_from([*PIECES, *NAMES]))
def test_a_whole_file_with_a_mistake_is_settings_or_a_config_error(tmp_path: Path, at: int, cut: int, put: str) -> None:
    load(tmp_path / "a.yaml", WHOLE[:at] + put + WHOLE[at + cut :])


@pytest.mark.parametrize("wrong", [f"[{KEY}]", f"{{a: {KEY}}}", "12345678901", "true", f'["{KEY} x"]', f"[[{KEY}]]"])
@pytest.mark.parametrize(
    "setting",
    [
        "server: {{api_keys: {}}}",
        "providers: {{openai: {{credentials: {}}}}}",
        "providers: {{openai: {{headers: {}}}}}",
        "providers: {{openai: {{base_url: {}}}}}",
        "server: {{api_keys: [{{name: n, key: {}}}]}}",
        "routes: {{a: {{deployments: [{{model: groq/x, keys: {}}}]}}}}",
        "routes: {{a: {{deployments: [{{model: groq/x, tags: [t]}}], rules: [{{when: {{keys: {}}}, use: [t]}}]}}}}",
        "state: {{url: {}}}",
        "admin: {{port: 1, key: {}}}",
    ],
)
def test_a_secret_of_the_wrong_shape_is_not_shown(tmp_path: Path, setting: str, wrong: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(setting.format(wrong), encoding="utf-8")
    try:
        loaded = load_settings(file, {}, KNOWN)
        shown = repr((loaded.server, loaded.routes, loaded.state, loaded.admin))
    except ConfigError as error:
        shown = str(error)
    assert KEY not in shown
    assert "12345678901" not in shown


def test_the_whole_file_is_right_without_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(WHOLE, encoding="utf-8")
    assert load_settings(file, {"KEY": KEY}, KNOWN).routes
