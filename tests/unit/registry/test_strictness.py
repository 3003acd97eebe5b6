"""A key for all providers, keys that look wrong, keys that are missing: warnings, or reasons not to start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.registry.assembly import build_catalogue
from gateway.runtime import Runtime
from gateway.settings.model import Settings

ROUTE = {"r": {"deployments": [{"model": "groq/m"}, {"model": "mistral/m"}]}}


def made(said: dict[str, Any], tmp_path: Path, **environ: str) -> Runtime:
    whole = {"discovery": {"enabled": False}, "server": {"access_log": "off"}, **said}
    return Runtime(Settings.model_validate(whole), {"ANYPORT_DATA_DIR": str(tmp_path), **environ})


def faults(said: dict[str, Any], tmp_path: Path, **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        made(said, tmp_path, **environ)
    return {fault.path: fault.message for fault in caught.value.faults}


def sources(said: dict[str, Any], **environ: str) -> dict[str, str]:
    catalogue = build_catalogue(Settings.model_validate(said), environ)
    return {provider.spec.id: provider.source for provider in catalogue if provider.source != "none"}


LACK = "together has no credential; set TOGETHER_API_KEY or TOGETHERAI_API_KEY or TOGETHER_AI_API_KEY"
GENERIC = {"generic_variables": ["ANYPORT_KEY", "API_KEY"]}
NAMED: dict[str, Any] = {
    "providers": {
        "groq": {},
        "mistral": {},
        "ollama": {},
        "vllm": {},
        "opencode": {},
        "deepseek": {"base_url": "http://127.0.0.1:9/v1"},
        "mine": {"base_url": "https://llm.example.com/v1", "protocol": "openai"},
    },
    "routes": {
        "r": {"deployments": [{"model": "together/m"}, {"provider": "custom:https://x.example/v1", "model": "m"}]}
    },
}


def test_a_variable_for_all_comes_after_the_providers_own_and_only_to_whom_it_is_for() -> None:
    found = sources({"credentials": GENERIC, **NAMED}, API_KEY="sk-all", GROQ_API_KEY="gsk_own")
    generic = "env API_KEY, for all"
    assert found == {"groq": "env GROQ_API_KEY", "mistral": generic, "together": generic}


def test_of_the_variables_for_all_the_first_that_is_set_counts() -> None:
    said = {"credentials": GENERIC, "providers": {"mistral": {}}}
    assert sources(said, API_KEY="a", ABI_API_KEY="b") == {"mistral": "env ABI_API_KEY, for all"}
    assert sources(said, API_KEY="a", ANYPORT_KEY=" ") == {"mistral": "env API_KEY, for all"}


def test_without_the_setting_such_a_variable_says_nothing() -> None:
    assert sources(NAMED, API_KEY="sk-all") == {}


async def test_a_key_that_begins_otherwise_is_a_warning_or_a_reason_not_to_start(tmp_path: Path) -> None:
    runtime = made({}, tmp_path, OPENAI_API_KEY="abc-canary")
    told = "keys of OpenAI begin with `sk-`; the configured one does not (from env OPENAI_API_KEY)"
    assert f"openai: {told}" in runtime.warnings
    await runtime.aclose()
    strict = {"credentials": {"strict_key_check": True}}
    assert faults(strict, tmp_path, OPENAI_API_KEY="abc-canary") == {"providers.openai": told}
    own = {"r": {"deployments": [{"model": "openai/m", "keys": ["sk-good", "abc-canary"]}]}}
    (path,) = faults({**strict, "routes": own}, tmp_path)
    assert path == "routes.r.deployments.0.keys.1"
    elsewhere = made(strict, tmp_path, OPENAI_API_KEY="abc-canary", OPENAI_BASE_URL="https://proxy.example.com/v1")
    await elsewhere.aclose()


async def test_a_missing_credential_is_a_warning_or_a_reason_not_to_start(tmp_path: Path) -> None:
    said = {"providers": {"together": {}}, "routes": ROUTE}
    runtime = made(said, tmp_path, GROQ_API_KEY="gsk_x")
    assert [text for text in runtime.warnings if "together" in text] == [LACK]
    await runtime.aclose()
    assert faults({**said, "credentials": {"strict": True}}, tmp_path, GROQ_API_KEY="gsk_x") == {
        "providers.together": LACK,
        "routes.r.deployments.1": "mistral has no credential; set MISTRAL_API_KEY",
    }


async def test_accounts_that_are_all_profiles_lack_nothing_but_a_deployment_without_one_does(tmp_path: Path) -> None:
    providers = {"acme": {"base_url": "https://acme.example/v1", "profiles": {"one": {"credentials": ["k-one"]}}}}
    routes: dict[str, Any] = {"r": {"deployments": [{"model": "acme/m", "profile": "one"}]}}
    said = {"credentials": {"strict": True}, "providers": providers, "routes": routes}
    runtime = made(said, tmp_path)
    assert not [each for each in runtime.warnings if "acme" in each]
    await runtime.aclose()
    routes["r"]["deployments"].append({"model": "acme/m2"})
    (fault,) = faults(said, tmp_path).items()
    assert fault[0].startswith("routes.r.deployments.1") and "acme has no credential" in fault[1]
