"""One file of settings, read with an environment that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.settings.load import load_settings
from gateway.settings.model import Settings

KNOWN = {"openai": "openai", "groq": "groq", "xai": "xai", "grok": "xai"}
ENVIRON = {
    "CLIENT_KEY": "client-1",
    "KEY_A": "sk-secret-a",
    "KEY": "sk-secret",
    "BLANK": "sk secret",
    "EMPTY": "",
    "PORT": "9000",
    "WEIGHT": "0",
    "NAME": "sk-misplaced",
}


def load(file: Path, text: str) -> Settings:
    """Returns what the text means as `file`; raises ConfigError."""
    file.write_text(text, encoding="utf-8")
    return load_settings(file, ENVIRON, KNOWN)


def faults(file: Path, text: str) -> list[str]:
    """Returns the faults of the text, each from its line on."""
    with pytest.raises(ConfigError) as caught:
        load(file, text)
    return [str(fault).removeprefix("anyport.yaml:") for fault in caught.value.faults]


def routes(*lines: str) -> str:
    """Returns a file of routes, of which the first stands in line 2; `D` is one deployment."""
    said = [f"  {line.replace('D', 'deployments: [{model: groq/x}]')}" for line in lines]
    return "\n".join(["routes:", *said, ""])
