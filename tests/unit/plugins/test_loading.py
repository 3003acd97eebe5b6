"""Only plugins that the settings name are loaded, and what cannot be used is a fault that says why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.plugins.loading import load_plugins

MODULE = """
class Speaks:
    protocol = "{protocol}"
    operations, paths, fidelity = frozenset(), {{}}, {{}}
    parts = request = reply = stream = failure = lambda self: None

class Hears:
    attempt_ended = request_ended = lambda self, event: None

class Waits(Hears):
    async def request_ended(self, event): ...

class Half:
    protocol = "half"

def fails():
    raise RuntimeError("no licence")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, package: str, protocol: str = "toy", **offers: str) -> None:
    """Puts a package there as an installer would; `offers` is what its names stand for."""
    (site / f"{package}.py").write_text(MODULE.format(protocol=protocol))
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [
        f"[anyport.{'hooks' if each in ('Hears', 'Waits') else 'adapters'}]\n{name} = {package}:{each}\n"
        for name, each in offers.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))


def fault(*names: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_plugins(names, ["openai"])
    (found,) = error.value.faults
    assert found.path == f"plugins.{len(names) - 1}"
    return found.message


def test_nothing_is_loaded_that_is_not_named(site: Path) -> None:
    install(site, "quiet_one", speaks="Speaks", hears="Hears")
    assert load_plugins([], ["openai"]).by_name == {}
    assert "quiet_one" not in sys.modules
    plugins = load_plugins(["hears"], ["openai"])
    assert (list(plugins.hooks), plugins.adapters) == (["hears"], {})


def test_a_protocol_is_known_by_its_own_name(site: Path) -> None:
    install(site, "speaker", speaks="Speaks")
    assert list(load_plugins(["speaks"], ["openai"]).adapters) == ["toy"]


def test_a_reload_keeps_what_was_made(site: Path) -> None:
    install(site, "kept", hears="Hears")
    first = load_plugins(["hears"], [])
    assert load_plugins(["hears"], [], first).hooks["hears"] is first.hooks["hears"]


def test_an_unknown_name_is_a_fault_that_names_what_there_is(site: Path) -> None:
    install(site, "known_one", speaks="Speaks")
    assert fault("speeks") == "no installed package offers the plugin 'speeks'; those that are installed: speaks"


def test_a_name_that_stands_twice_is_a_fault(site: Path) -> None:
    install(site, "twice", hears="Hears")
    assert fault("hears", "hears") == "the plugin 'hears' is named twice"


def test_a_name_that_two_packages_have_is_a_fault(site: Path) -> None:
    install(site, "one", same="Hears")
    install(site, "two", same="Hears")
    said = fault("same")
    assert said.startswith("several packages offer the plugin 'same': ")
    assert "one 1.0" in said
    assert "two 1.0" in said


def test_a_protocol_that_somebody_speaks_already_is_a_fault(site: Path) -> None:
    install(site, "first_toy", first="Speaks")
    install(site, "second_toy", second="Speaks")
    assert fault("first", "second") == "the plugin 'second' speaks the protocol 'toy', and so does first"
    install(site, "other", protocol="openai", third="Speaks")
    assert fault("third") == "the plugin 'third' speaks the protocol 'openai', and so does Anyport itself"


def test_what_a_package_raises_is_a_fault(site: Path) -> None:
    install(site, "failing", fails="fails", gone="NotThere")
    assert fault("fails") == "the plugin 'fails' (failing 1.0) cannot be loaded: RuntimeError: no licence"
    assert "AttributeError" in fault("gone")


def test_half_an_adapter_and_a_hook_that_wants_to_be_waited_for_are_faults(site: Path) -> None:
    install(site, "wrong", half="Half", waits="Waits")
    lacks = "`operations`, `paths`, `fidelity`, `parts`, `request`, `reply`, `stream`, `failure`"
    assert fault("half") == f"the plugin 'half' (wrong 1.0) has no usable {lacks}, which anyport.adapters must have"
    assert "no usable `request_ended`, which anyport.hooks must have" in fault("waits")
