"""The catalogue put together: built-in rows with those of the file laid over, and who speaks their protocols."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.types import Adapter
from gateway.credentials.keyring import KeyBook
from gateway.credentials.logins import Logins
from gateway.domain import ProviderSpec
from gateway.errors import ConfigError, Fault
from gateway.plugins.loading import Plugins, load_plugins
from gateway.registry.adapters import ADAPTERS, BATCHES, OPTIONS_OF, RULED
from gateway.registry.builtin import layer, load_builtin, starting_row, to_spec
from gateway.registry.catalogue import Catalogue
from gateway.registry.generic import generic_of
from gateway.registry.registry import Registry
from gateway.settings.explain import nearest
from gateway.settings.model import Settings
from gateway.settings.provider import ProviderRow
from gateway.storage.factory import data_directory


def build_catalogue(
    settings: Settings,
    environ: Mapping[str, str],
    plugins: Plugins | None = None,
    keys: KeyBook | None = None,
    logins: Logins | None = None,
) -> Catalogue:
    """Returns the providers of the built-in table with the file's rows laid over; raises ConfigError."""
    plugins = plugins or load_plugins(settings.plugins, ADAPTERS)
    adapters = {**ADAPTERS, **plugins.adapters}
    rows = dict(load_builtin())
    for name, row in settings.providers.items():
        rows[name] = layer(starting_row(rows, name), row)
    _refuse(
        {
            f"{name}.protocol": _unspoken(row.protocol, adapters)
            for name, row in settings.providers.items()
            if row.protocol and row.protocol not in adapters
        }
    )
    specs: list[ProviderSpec] = []
    wrong = {name: said for name, row in settings.providers.items() if (said := _in_vain(row, rows[name]))}
    for name, row in rows.items():
        try:
            specs.append(to_spec(name, row, adapters))
        except ValueError as error:
            wrong[name] = str(error)
    _refuse(wrong)
    try:
        registry = Registry(specs)
    except ValueError as error:
        raise ConfigError([Fault("anyport.yaml", 0, 0, "providers", str(error))]) from None
    logins = logins or Logins(environ, data_directory(settings.storage.directory, environ))
    generic = generic_of(settings, registry, load_builtin().keys())
    catalogue = Catalogue(registry, settings.providers, environ, keys, logins=logins, generic=generic)
    _refuse({name: catalogue.problems[name] for name in settings.providers if name in catalogue.problems})
    return catalogue


def _in_vain(row: ProviderRow, whole: ProviderRow) -> str:
    """Says what of a user's row its protocol would ignore, "" if nothing."""
    protocol = whole.protocol or "openai"
    if row.rules is not None and protocol not in RULED:
        return f"remove `rules`: they change OpenAI's wire, and requests for protocol {protocol!r} are translated"
    if row.provider_batch and protocol not in BATCHES:
        known = " and ".join(sorted(BATCHES))
        return f"remove `provider_batch`: we know no batch API of protocol {protocol!r}, only of {known}"
    for name in row.options.model_fields_set if row.options else ():
        if protocol not in OPTIONS_OF[name]:
            known = " and ".join(sorted(OPTIONS_OF[name]))
            return f"remove `options.{name}`: it is for protocol {known}, and {protocol!r} does not know it"
    return ""


def _unspoken(protocol: str, adapters: Mapping[str, Adapter]) -> str:
    near = nearest(protocol, adapters) or f"; known are {', '.join(sorted(adapters))}"
    return f"nothing speaks the protocol {protocol!r}{near} (one of a plugin needs that plugin under `plugins`)"


def _refuse(wrong: Mapping[str, str]) -> None:
    if wrong:
        raise ConfigError([Fault("anyport.yaml", 0, 0, f"providers.{name}", text) for name, text in wrong.items()])
