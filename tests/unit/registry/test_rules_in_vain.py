"""Rules on a row whose protocol is translated would do nothing: they are a fault, never silently ignored."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.runtime import build_catalogue
from gateway.settings.model import Settings


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
