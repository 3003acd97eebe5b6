"""Providers with a file of their own are read with the settings, and no two of them have one name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError, Fault
from gateway.settings.load import load_settings, locate
from gateway.settings.provider_files import ProviderFile, directory_beside, read_provider_files

BUILT_IN = {"groq": "groq", "gpt": "openai", "openai": "openai"}
ACME = b"base_url: http://127.0.0.1:9000/v1\nrequires_credential: false\n"


def a_file(name: str, data: bytes = ACME) -> ProviderFile:
    return ProviderFile(Path("providers.d") / f"{name}.yaml", data)


def faults(*files: ProviderFile, text: bytes | None = None) -> list[str]:
    with pytest.raises(ConfigError) as error:
        path = None if text is None else Path("anyport.yaml")
        load_settings(path, {}, BUILT_IN, data=text, files=files)
    return [str(fault) for fault in error.value.faults]


def test_a_file_is_a_provider_by_its_name_with_and_without_settings() -> None:
    alone = load_settings(None, {}, BUILT_IN, files=[a_file("acme")])
    assert alone.providers["acme"].base_url == "http://127.0.0.1:9000/v1"
    assert alone.providers["acme"].protocol == "openai"
    text = b"providers:\n  mine: {base_url: 'http://h/v1'}\nroutes: {a: {deployments: [{model: acme/x}]}}\n"
    both = load_settings(Path("anyport.yaml"), {}, BUILT_IN, data=text, files=[a_file("acme")])
    assert sorted(both.providers) == ["acme", "mine"]


def test_an_empty_section_of_providers_is_no_obstacle() -> None:
    files = [a_file("acme")]
    assert list(load_settings(Path("a.yaml"), {}, BUILT_IN, data=b"providers:\n", files=files).providers) == ["acme"]


def test_variables_are_replaced_there_too() -> None:
    file = a_file("acme", b"base_url: http://h/v1\ncredentials: ['${ACME}']\n")
    (secret,) = load_settings(None, {"ACME": "s3cret"}, BUILT_IN, files=[file]).providers["acme"].credentials or ()
    assert secret.reveal() == "s3cret"
    assert faults(file) == [
        "providers.d/acme.yaml:2:15  providers.acme.credentials.0  the environment variable ACME is not set"
    ]


def test_a_fault_has_its_place_in_the_file_that_has_it() -> None:
    assert faults(a_file("acme", b"base_url: ftp://h\nbase_ulr: x\n"), text=b"server: {prot: 1}\n") == [
        "anyport.yaml:1:10  server.prot  unknown setting 'prot'; did you mean 'port'?",
        "providers.d/acme.yaml:1:11  providers.acme.base_url  must be an http:// or https:// URL without user name, "
        "query and blanks",
        "providers.d/acme.yaml:2:1  providers.acme.base_ulr  unknown setting 'base_ulr'; did you mean 'base_url'?",
    ]
    late = [Fault("?", 0, 0, "providers.acme.base_url", "found later")]
    assert [str(each) for each in locate(late, None, files=[a_file("acme")])] == [
        "providers.d/acme.yaml:1:11  providers.acme.base_url  found later"
    ]


def test_the_name_of_another_provider_is_refused() -> None:
    text = b"providers:\n  acme: {base_url: 'http://h/v1'}\n"
    assert faults(a_file("acme"), a_file("gpt"), text=text) == [
        "providers.d/acme.yaml:1:1  providers.acme  'acme' is a provider of anyport.yaml:2 already; "
        "rename or remove this file",
        "providers.d/gpt.yaml:1:1  providers.gpt  'gpt' is a name of the built-in provider 'openai'; "
        "change that one in anyport.yaml; rename or remove this file",
    ]


def test_a_name_that_is_no_id_and_a_file_without_a_url_are_refused() -> None:
    (fault,) = faults(a_file("My Server"))
    assert "a provider's id must be lower-case letters" in fault
    (fault,) = faults(a_file("acme", b"# nothing yet\n"))
    assert fault.startswith("providers.d/acme.yaml:1:1  providers.acme  no built-in provider is called 'acme'")


def test_what_is_no_mapping_is_refused() -> None:
    (fault,) = faults(a_file("acme", b"- a list\n"))
    assert fault == "providers.d/acme.yaml:1:1  the file must hold settings as 'name: value' lines"


def test_only_visible_yaml_files_of_the_directory_count(tmp_path: Path) -> None:
    assert read_provider_files(tmp_path / "providers.d") == []
    for name in ("b.yaml", "a.yaml", ".hidden.yaml", "a.yaml~", "notes.txt"):
        (tmp_path / name).write_bytes(ACME)
    assert [file.id for file in read_provider_files(tmp_path)] == ["a", "b"]


def test_a_directory_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "providers.d").write_text("a file")
    with pytest.raises(ConfigError, match=r"providers\.d  cannot be read: Not a directory"):
        read_provider_files(directory_beside(tmp_path / "anyport.yaml"))
