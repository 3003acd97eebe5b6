"""A secret that is empty, blank or missing keeps the gateway from starting: it never means that nobody is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.access.secrets import Pepper, PepperMissing, digest_of
from gateway.errors import ConfigError
from gateway.settings.document import MAX_FILE_BYTES
from gateway.settings.load import load_settings
from tests.e2e.process import run_gateway

SECRETS: dict[str, Any] = {
    "server.api_keys.0": {"server": {"api_keys": ["${IT}"]}},
    "server.api_keys.0.key": {"server": {"api_keys": [{"key": "${IT}", "name": "a"}]}},
    "admin.key": {"admin": {"port": 1, "key": "${IT}"}},
    "access.pepper": {"access": {"pepper": "${IT}"}},
    "providers.openai.credentials.0": {"providers": {"openai": {"credentials": ["${IT}"]}}},
    "routes.r.deployments.0.keys.0": {"routes": {"r": {"deployments": [{"model": "openai/x", "keys": ["${IT}"]}]}}},
    "state.url": {"state": {"url": "redis://:${IT}@cache:6379/0"}},
    "storage.url": {"storage": {"url": "postgresql://anyport:${IT}@db/anyport"}},
}
BAD = {"empty": "", "blank": "   ", "a line": "\n", "a key and a line": "sk-canary-0123456789\n"}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
@pytest.mark.parametrize("path", SECRETS)
def test_an_empty_or_blank_secret_is_a_fault_that_names_its_setting(tmp_path: Path, path: str, value: str) -> None:
    file = tmp_path / "anyport.yaml"
    file.write_text(yaml.safe_dump(SECRETS[path]))
    with pytest.raises(ConfigError) as refused:
        load_settings(file, {"IT": value}, {"openai": "openai"})
    assert path in [fault.path for fault in refused.value.faults]
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("path", SECRETS)
def test_a_secret_whose_variable_is_not_set_is_a_fault_that_names_the_variable(tmp_path: Path, path: str) -> None:
    file = tmp_path / "anyport.yaml"
    file.write_text(yaml.safe_dump(SECRETS[path]))
    with pytest.raises(ConfigError) as refused:
        load_settings(file, {}, {"openai": "openai"})
    assert [fault.message for fault in refused.value.faults] == ["the environment variable IT is not set"]


@pytest.mark.parametrize("path", SECRETS)
def test_a_good_secret_is_taken(tmp_path: Path, path: str) -> None:
    file = tmp_path / "anyport.yaml"
    file.write_text(yaml.safe_dump(SECRETS[path]))
    load_settings(file, {"IT": "canary-0123456789abcdef"}, {"openai": "openai"})


@pytest.mark.parametrize("empty", ["server.api_keys.0", "admin.key", "access.pepper"])
def test_a_gateway_with_an_empty_secret_does_not_start(tmp_path: Path, empty: str) -> None:
    config = yaml.safe_dump(SECRETS[empty])
    code, said = run_gateway(tmp_path, "--port", "0", config=config, environ={"IT": ""})
    assert code == 2
    assert empty in said
    assert "must not be empty" in said


def test_a_digest_without_a_pepper_is_never_made(tmp_path: Path) -> None:
    for pepper in (b"", b"short"):
        with pytest.raises(ValueError, match="a pepper must have 16 bytes"):
            digest_of(b"sk-anyport-x", pepper)
        (tmp_path / "pepper").write_bytes(pepper)
        with pytest.raises(PepperMissing, match="bring back what it was"):
            Pepper(None, tmp_path / "pepper").read()
    assert len(digest_of(b"sk-anyport-x", b"0123456789abcdef")) == 32


HOSTILE = {
    "python objects": ("server: !!python/object/apply:os.system ['touch canary']", "the tag"),
    "python names": ("server: !!python/name:os.system", "the tag"),
    "merge keys": ("a: &a {port: 1}\nserver: {<<: *a}", "<<"),
    "aliases without end": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        "aliases",
    ),
    "too long": ("#" + "x" * MAX_FILE_BYTES, "long"),
    "a second document": ("server: {}\n---\nserver: {}", "document"),
    "a variable in a name": ("${IT}: {}", "${IT}"),
    "a variable inside a variable": ("server: {host: '${A${IT}}'}", "${"),
}


@pytest.mark.parametrize("text", HOSTILE, ids=HOSTILE)
def test_a_file_that_wants_to_be_more_than_values_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "anyport.yaml"
    content, said = HOSTILE[text]
    file.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        load_settings(file, {"IT": "canary"})
    assert "canary" not in str(refused.value).replace("touch canary", "")


def test_what_a_variable_holds_is_not_looked_into_again(tmp_path: Path) -> None:
    file = tmp_path / "anyport.yaml"
    file.write_text("server: {access_log: '${A}'}")
    assert load_settings(file, {"A": "${B}", "B": "canary"}).server.access_log == "${B}"
