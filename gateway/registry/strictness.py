"""What of credentials is a warning, and what a fault: `strict` and `strict_key_check` of `credentials` decide."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.credentials.resolve import key_warning
from gateway.errors import ConfigError, Fault
from gateway.registry.catalogue import Catalogue
from gateway.registry.routes import RouteBook
from gateway.settings.model import Settings


def warnings_of(settings: Settings, catalogue: Catalogue, routes: RouteBook) -> list[str]:
    """Returns which credentials look wrong or are missing, a sentence each; raises ConfigError for those that must not.

    Whatever else a deployment of the file cannot be used for is among what is missing.
    """
    doubtful = dict(_doubtful(catalogue, routes))
    missing = dict(_missing(settings, catalogue))
    said = settings.credentials
    faults = doubtful if said.strict_key_check else {}
    if said.strict:
        faults = faults | missing | dict(routes.lacking())
    if faults:
        raise ConfigError([Fault("anyport.yaml", 0, 0, path, text) for path, text in faults.items()])
    kept = [f"{path.removeprefix('providers.')}: {text}" for path, text in doubtful.items()]
    return [*kept, *missing.values(), *routes.reasons()]


def _doubtful(catalogue: Catalogue, routes: RouteBook) -> Iterator[tuple[str, str]]:
    """Yields keys that hardly were made by the vendor that they go to: where each stands, and why."""
    for provider in catalogue.ready():
        if provider.doubt:
            yield f"providers.{provider.spec.id}", f"{provider.doubt} (from {provider.source})"
    for path, deployment in routes.with_own_keys():
        ring = deployment.key_ring
        for number, secret in enumerate(ring.secrets):
            if text := key_warning(ring.spec, deployment.target.base_url, secret):
                yield f"{path}.keys.{number}", text


def _missing(settings: Settings, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Yields providers of the file that have no credential, and what to set."""
    for name, row in settings.providers.items():
        if row.profiles and row.credentials is None:
            continue  # its accounts are profiles: a deployment that names none, or an empty one, is told with its route
        provider = catalogue.find(name)
        if not isinstance(provider, str) and (lack := provider.lack):
            yield f"providers.{name}", lack
