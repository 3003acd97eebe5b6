"""The providers of a configuration, as commands tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.configuration import load_configuration, located

if TYPE_CHECKING:
    from gateway.registry.provider import Provider
    from gateway.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Known:
    """All providers, those that can be called, and why others cannot."""

    registry: Registry
    providers: dict[str, Provider]
    problems: dict[str, str]


def load_known(config: Path | None) -> Known:
    """Returns the providers of the configuration; raises ConfigError."""
    from gateway.registry.assembly import build_catalogue
    from gateway.registry.builtin import load_builtin, to_spec
    from gateway.registry.registry import Registry

    configuration = load_configuration(config)
    with located(configuration.path):
        catalogue = build_catalogue(configuration.settings, configuration.environ)
    providers = {provider.spec.id: provider for provider in catalogue}
    # What cannot be resolved, mostly for want of an account's name in its URL, is not in the catalogue.
    others = (to_spec(id, row) for id, row in load_builtin().items() if id not in providers)
    specs = [*(provider.spec for provider in providers.values()), *others]
    return Known(
        Registry(sorted(specs, key=lambda spec: spec.id)), providers, {**catalogue.unusable, **catalogue.problems}
    )
