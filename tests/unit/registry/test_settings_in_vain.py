"""Rules on a row whose protocol is translated would do nothing: they are a fault, never silently ignored."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.registry.adapters import ADAPTERS, OPTIONS_OF
from gateway.registry.assembly import build_catalogue
from gateway.settings.model import Settings
from gateway.settings.provider import OptionsRow


def settings(**row: object) -> Settings:
    return Settings.model_validate({"providers": {"anthropic": row}})


def test_rules_of_a_translated_protocol_are_a_fault() -> None:
    with pytest.raises(ConfigError) as refused:
        build_catalogue(settings(rules={"drop": ["seed"]}), {})
    (fault,) = refused.value.faults
    assert fault.path == "providers.anthropic"
    assert "'anthropic' are translated" in fault.message


def test_rules_of_openais_wire_and_other_settings_are_fine() -> None:
    assert build_catalogue(settings(options={"prompt_cache": False}), {})
    openai = Settings.model_validate({"providers": {"openai": {"rules": {"drop": ["seed"]}}}})
    assert build_catalogue(openai, {})


def test_an_option_of_another_protocol_is_a_fault() -> None:
    with pytest.raises(ConfigError) as refused:
        build_catalogue(settings(options={"api_version": "2024-10-21"}), {})
    (fault,) = refused.value.faults
    assert fault.message == "remove `options.api_version`: it is for protocol azure, and 'anthropic' does not know it"


def test_batches_of_a_provider_that_has_none_are_a_fault() -> None:
    with pytest.raises(ConfigError) as refused:
        build_catalogue(Settings.model_validate({"providers": {"ollama": {"provider_batch": True}}}), {})
    (fault,) = refused.value.faults
    assert fault.message.startswith("remove `provider_batch`: we know no batch API of protocol 'ollama'")
    assert build_catalogue(settings(provider_batch=True), {})


def test_every_option_has_a_protocol_that_reads_it() -> None:
    assert set(OPTIONS_OF) == set(OptionsRow.model_fields)
    assert {protocol for known in OPTIONS_OF.values() for protocol in known} <= set(ADAPTERS)
