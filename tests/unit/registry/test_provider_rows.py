"""The built-in rows, and how rows are laid over each other."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

import gateway
from adapters.failures import FailureKind, FailureRule
from adapters.openai import OpenAIAdapter
from adapters.rules import NO_RULES
from adapters.types import Operation
from gateway.domain import AuthScheme, Connection
from gateway.errors import ConfigError
from gateway.registry.adapters import ADAPTERS, paths_of
from gateway.registry.builtin import (
    PROVIDERS_FILE,
    auth_scheme,
    config_directory,
    layer,
    load_builtin,
    parse_file,
    parse_rows,
    starting_row,
    to_spec,
)
from gateway.settings.provider import ProviderRow, RulesRow

ROWS = load_builtin()
MODEL_IN_THE_PATH = {"bedrock", "code_assist", "gemini", "vertex"}
ONLY_OPENAI = {"store", "metadata", "verbosity", "web_search_options", "safety_identifier"}


def row(**fields: object) -> ProviderRow:
    return ProviderRow.model_validate(fields)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_becomes_a_provider(name: str) -> None:
    spec = to_spec(name, ROWS[name])
    assert spec.id == name == name.lower()
    assert spec.display_name != ""
    assert spec.protocol in ADAPTERS
    assert spec.base_url.startswith("http://127.0.0.1:" if spec.connection is Connection.LOCAL else "https://")
    assert not spec.base_url.endswith("/")
    assert spec.operations & {Operation.CHAT, Operation.EMBEDDINGS}
    assert spec.operations <= ADAPTERS[spec.protocol].operations
    assert Operation.CHAT in paths_of(spec) or spec.protocol in MODEL_IN_THE_PATH
    assert spec.probe is None or spec.probe.startswith("/")
    assert not spec.requires_credential or spec.credential_envs or spec.login
    assert all(region is None or region in spec.regions for region in spec.aliases.values())


def test_the_baseline_is_under_every_row_but_the_excepted() -> None:
    excepted = parse_file((config_directory() / PROVIDERS_FILE).read_text(), PROVIDERS_FILE).baseline.excepted
    assert {"openai", "openrouter", "vercel"} <= set(excepted)
    for name, each in ROWS.items():
        spec = to_spec(name, each)
        assert spec.rules.strip_nulls is (name not in excepted), name
        assert spec.rules.wrap_functions is (name not in excepted or name in ("openrouter", "vercel")), name
        assert name not in excepted or spec.rules.wrap_functions or spec.rules == NO_RULES, name


def test_openai_gets_everything_as_it_came() -> None:
    rules = to_spec("openai", ROWS["openai"]).rules
    assert not rules.rename
    assert not rules.drop
    assert not rules.roles


def test_a_rows_lists_are_added_to_the_baseline() -> None:
    drop = to_spec("groq", ROWS["groq"]).rules.drop
    assert drop >= ONLY_OPENAI | {"logprobs", "top_logprobs", "logit_bias"}


def test_what_a_row_maps_to_itself_stays() -> None:
    groq = to_spec("groq", ROWS["groq"]).rules
    assert not groq.rename
    assert not groq.roles
    assert "web_search_options" not in to_spec("perplexity", ROWS["perplexity"]).rules.drop
    vllm = to_spec("vllm", ROWS["vllm"]).rules
    assert vllm.rename == {"max_completion_tokens": "max_tokens"}
    assert not vllm.roles


def test_the_vendors_names_are_data() -> None:
    perplexity = to_spec("perplexity", ROWS["perplexity"]).rules
    assert perplexity.stream_usage == "always"
    assert perplexity.reasoning_out == "think_tags"
    assert to_spec("alibaba", ROWS["alibaba"]).label == "qwen"
    assert to_spec("groq", ROWS["groq"]).label == "groq"
    assert FailureRule(FailureKind.QUOTA, code="1113") in to_spec("zai", ROWS["zai"]).failure_rules


def test_a_provider_without_a_probe_says_so() -> None:
    assert to_spec("cloudflare", ROWS["cloudflare"]).probe is None
    assert to_spec("vllm", ROWS["vllm"]).probe == "/v1/models"


def test_a_row_that_says_nothing_gets_the_defaults() -> None:
    spec = to_spec("x", row(base_url="http://h/v1"))
    assert spec.operations == OpenAIAdapter.operations
    assert paths_of(spec)[Operation.EMBEDDINGS] == "/embeddings"
    assert spec.auth == AuthScheme()
    assert spec.requires_credential
    assert spec.label == spec.display_name == "x"


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("bearer", AuthScheme("authorization", "Bearer ")),
        ("none", None),
        ("x-api-key", AuthScheme("x-api-key", "")),
        ("api-key", AuthScheme("api-key", "")),
        ("header:X-Token", AuthScheme("x-token", "")),
    ],
)
def test_an_auth_word_is_a_scheme(text: str, scheme: AuthScheme | None) -> None:
    assert auth_scheme(text) == scheme


def test_the_users_row_wins_and_dictionaries_merge_key_by_key() -> None:
    base = row(
        base_url="http://a",
        aliases=["one"],
        headers={"a": "1", "b": "2"},
        paths={"chat": "/c"},
        rules={"drop": ["x"], "rename": {"p": "q"}, "strip_nulls": True},
    )
    user = row(base_url="http://b", headers={"b": "3"}, aliases=["two"], rules={"drop": ["y"], "rename": {"r": "s"}})
    merged = layer(base, user)
    assert merged.base_url == "http://b"
    assert merged.aliases == ["two"]
    assert merged.headers == {"a": "1", "b": "3"}
    assert merged.paths == {Operation.CHAT: "/c"}
    assert merged.rules == RulesRow(drop=["y"], rename={"p": "q", "r": "s"}, strip_nulls=True)


def test_null_says_nothing_except_that_there_is_no_probe() -> None:
    merged = layer(row(base_url="http://a", probe="/p"), row(base_url=None, probe=None))
    assert merged.base_url == "http://a"
    assert to_spec("x", merged).probe is None


def test_without_a_row_below_the_users_row_is_the_row() -> None:
    user = row(base_url="http://a")
    assert layer(None, user) is user


def test_a_new_name_starts_from_the_generic_rules() -> None:
    start = starting_row(ROWS, "my-vllm")
    spec = to_spec("my-vllm", layer(start, row(base_url="http://10.0.0.5:8000/v1")))
    assert spec.rules == to_spec("openai-compatible", ROWS["openai-compatible"]).rules
    assert spec.operations == {Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.RERANK}
    assert not spec.aliases
    assert not spec.credential_envs
    assert starting_row(ROWS, "groq") is ROWS["groq"]


def test_a_region_in_a_row_moves_the_default() -> None:
    spec = to_spec("moonshot", layer(ROWS["moonshot"], row(region="cn")))
    assert spec.base_url == "https://api.moonshot.cn/v1"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "`x` has no base_url"),
        ({"base_url": "http://h", "region": "eu"}, "`x` has no region `eu`; its regions: none"),
        ({"base_url": "http://h", "aliases": ["a@eu"]}, "`x` has no region `eu`"),
        ({"base_url": "http://h", "aliases": ["a", "a"]}, "`x` has the alias `a` twice"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_spec("x", row(**fields))


def test_a_spec_cannot_be_changed() -> None:
    spec = to_spec("groq", ROWS["groq"])
    assert isinstance(spec.paths, MappingProxyType)
    assert isinstance(spec.rules.rename, MappingProxyType)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("providers:\n  a: {}\n  b: {}\n  a: {}\n", 4, "already set in line 2"),
        ("providers:\n  a:\n    label: x\n    label: y\n", 4, "already set in line 3"),
        ("a: &a [x, x]\nproviders: {p: {aliases: *a}}\n", 1, "unknown setting 'a'"),
        ("providers: {p: [}\n", 1, ""),
        ("providers:\n\t- x\n", 2, ""),
    ],
)
def test_odd_yaml_is_refused_with_its_place(text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rows(text, "p.yaml")
    fault = caught.value.faults[0]
    assert (fault.file, fault.line) == ("p.yaml", line)
    assert message in fault.message


def test_a_yaml_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [lol, lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))]
    with pytest.raises(ConfigError, match="aliases make the file too large"):
        parse_rows("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "providers"),
        ("providers: {p: {unknown: 1}}", "providers.p.unknown"),
        ("providers: {p: {operations: [chatt]}}", "providers.p.operations.0"),
        ("providers: {p: {rules: {json_schema: maybe}}}", "providers.p.rules.json_schema"),
        ("other: 1\nproviders: {}", "other"),
    ],
)
def test_what_is_not_a_row_is_named(text: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rows(text)
    assert caught.value.faults[0].path == path


def test_a_python_tag_is_not_executed() -> None:
    with pytest.raises(ConfigError):
        parse_rows("providers: !!python/object/apply:os.getcwd []")


def test_the_rows_stand_beside_the_packages_or_inside_an_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config_directory() == Path(__file__).parents[3] / "config"
    (tmp_path / "_config").mkdir()
    monkeypatch.setattr(gateway, "__file__", str(tmp_path / "__init__.py"))
    assert config_directory() == tmp_path / "_config"
