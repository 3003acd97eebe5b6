"""Providers that have a file of their own: each `providers.d/ID.yaml` beside the settings file is one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gateway.errors import ConfigError, Fault
from gateway.settings.document import Document, Substitute, as_mapping, read_document, read_file

PROVIDERS_DIRECTORY: Final = "providers.d"
SUFFIX: Final = ".yaml"


class ProviderFile(NamedTuple):
    """One file, and what it says."""

    path: Path
    data: bytes

    @property
    def id(self) -> str:
        """The provider that it is about."""
        return self.path.name.removesuffix(SUFFIX)


def directory_beside(config: Path | None) -> Path:
    """Returns where the files of providers are: beside the settings file, without one in the current directory."""
    return (config.parent if config else Path()) / PROVIDERS_DIRECTORY


def paths_in(directory: Path) -> list[Path]:
    """Returns the files that count, by name: hidden ones and those of another kind do not; raises OSError."""
    try:
        found = sorted(directory.iterdir())
    except FileNotFoundError:
        return []
    return [path for path in found if path.name.endswith(SUFFIX) and not path.name.startswith(".")]


def read_provider_files(directory: Path) -> list[ProviderFile]:
    """Returns what the directory says, nothing if there is none; raises ConfigError."""
    try:
        paths = paths_in(directory)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([Fault(str(directory), 0, 0, "", f"cannot be read: {reason}")]) from None
    return [ProviderFile(path, read_file(path)) for path in paths]


def add_provider_files(
    document: Document, files: Sequence[ProviderFile], substitute: Substitute, known_providers: Mapping[str, str]
) -> None:
    """Puts each file's provider under `providers`, and adds a fault for each that has the name of another one.

    Raises ConfigError for a file that is no YAML mapping.
    """
    said = document.root.get("providers")
    providers = dict(as_mapping(said))
    if not files or (said is not None and said != providers):
        return  # that this is no mapping is a fault of its own
    document.root["providers"] = providers
    for file in files:
        at = ("providers", file.id)
        part = read_document(str(file.path), file.data, substitute, at)
        owner = known_providers.get(file.id)
        if file.id in providers:
            line = document.places[at].key_line
            taken = f"{file.id!r} is a provider of {document.file}:{line} already"
        elif owner is not None:
            taken = f"{file.id!r} is a name of the built-in provider {owner!r}; change that one in {document.file}"
        else:
            document.absorb(part, at)
            providers[file.id] = part.root
            continue
        document.faults.append(Fault(str(file.path), 1, 1, ".".join(at), f"{taken}; rename or remove this file"))
