"""From a file to `Settings`: find it, read it, check it, and report everything wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from gateway.errors import ConfigError, Fault
from gateway.settings.checks import check
from gateway.settings.document import Document, Substitute, dotted, read_document, read_file
from gateway.settings.explain import explain
from gateway.settings.model import ServerSettings, Settings
from gateway.settings.provider_files import ProviderFile, add_provider_files
from gateway.settings.references import SecretFile, fetch_secrets, secret_files
from gateway.settings.variables import Variables

CONFIG_VARIABLE = "ANYPORT_CONFIG"
CONFIG_NAME = "anyport.yaml"


def find_config(explicit: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Returns `explicit`, else the file that $ANYPORT_CONFIG names, else ./anyport.yaml if it exists, else None.

    Relative paths start at `cwd`. A file that was named but is not there is a ConfigError.
    """
    variable = environ.get(CONFIG_VARIABLE)
    for named, source in ((explicit, "--config"), (variable, f"${CONFIG_VARIABLE}")):
        if named:
            path = cwd / named
            if not path.exists():
                raise ConfigError([Fault(str(path), 0, 0, "", f"no such file (named by {source})")])
            return path
    default = cwd / CONFIG_NAME
    return default if default.exists() else None


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    known_providers: Mapping[str, str] | None = None,
    *,
    data: bytes | None = None,
    files: Sequence[ProviderFile] = (),
) -> Settings:
    """Returns the settings of the file, or the defaults without one; raises ConfigError with every fault in it.

    Reads the files of secrets that it names and runs its commands, so this may take a while: never on an event loop.

    `files` are those of providers that have one of their own.

    `known_providers` gives the id for every id and alias of a built-in provider; without it nothing that depends
    on whether a provider is built in is checked. `data` is what the file says, if somebody has read it already.
    """
    if path is None and not files:
        return Settings()
    document = _whole(path, data, files, Variables(environ), known_providers or {})
    fetch_secrets(document, environ)
    settings = None
    try:
        settings = Settings.model_validate(document.root)
    except ValidationError as error:
        explain(document, error)
    check(document, known_providers)
    if document.faults or settings is None:
        faults = sorted(document.faults, key=lambda fault: (fault.file, fault.line, fault.column, fault.path))
        raise ConfigError(faults)
    return _with_protocols(settings, known_providers).warned(document.warnings)


def files_of_secrets(
    path: Path | None, environ: Mapping[str, str], files: Sequence[ProviderFile] = ()
) -> list[SecretFile]:
    """Returns the files that secrets of the settings stand in; fetches none. Raises ConfigError for what is no YAML."""
    return secret_files(_whole(path, None, files, Variables(environ), {}))


def _whole(
    path: Path | None,
    data: bytes | None,
    files: Sequence[ProviderFile],
    substitute: Substitute,
    known_providers: Mapping[str, str],
) -> Document:
    document = _main(path, data, substitute)
    add_provider_files(document, files, substitute, known_providers)
    return document


def _main(path: Path | None, data: bytes | None, substitute: Substitute) -> Document:
    if path is None:
        return Document(CONFIG_NAME)
    return read_document(str(path), read_file(path) if data is None else data, substitute)


def _with_protocols(settings: Settings, known_providers: Mapping[str, str] | None) -> Settings:
    # A provider of the user's own speaks OpenAI's protocol unless it says otherwise.
    if known_providers is None:
        return settings
    rows = {
        name: row.model_copy(update={"protocol": row.protocol or "openai"}) if name not in known_providers else row
        for name, row in settings.providers.items()
    }
    return settings.model_copy(update={"providers": rows})


def with_server(settings: Settings, changes: Mapping[str, object]) -> Settings:
    """Returns the settings with other values under `server`, as the command line gives them; raises ConfigError."""
    server = {**settings.server.model_dump(exclude_unset=True), **changes}
    try:
        changed = ServerSettings.model_validate(server)
    except ValidationError as error:
        document = Document("command line")
        explain(document, error)
        raise ConfigError(document.faults) from None
    return settings.model_copy(update={"server": changed})


def locate(
    faults: Iterable[Fault], path: Path | None, data: bytes | None = None, files: Sequence[ProviderFile] = ()
) -> list[Fault]:
    """Returns the faults that were found after loading `path` and `files`, at their lines as far as those have them."""

    def as_it_is(document: Document, at: tuple[str | int, ...], text: str) -> str:
        return text

    document = _whole(path, data, files, as_it_is, {})
    places = {dotted(each): (document.file_of(each), place) for each, place in document.places.items()}
    return [
        replace(fault, file=found[0], line=found[1].line, column=found[1].column)
        if not fault.line and (found := places.get(fault.path))
        else fault
        for fault in faults
    ]
