"""The configuration as every command sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from gateway.settings.model import Settings
    from gateway.settings.provider_files import ProviderFile
    from gateway.settings.references import SecretFile


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings, the file that they came from, if any, and the environment that completes them."""

    path: Path | None
    settings: Settings
    environ: Mapping[str, str]


def load_configuration(
    explicit: Path | None, data: bytes | None = None, files: Sequence[ProviderFile] | None = None
) -> Configuration:
    """Returns what `--config`, the environment and the current directory give; raises ConfigError.

    `data` is what the file (`explicit`, or ./anyport.yaml) says, if somebody has read it already; `files` are those
    of providers, where not those beside it are meant.
    """
    from gateway.settings.load import CONFIG_NAME, find_config, load_settings
    from gateway.settings.provider_files import directory_beside, read_provider_files

    path = find_config(explicit, os.environ, Path()) if data is None else explicit or Path(CONFIG_NAME)
    files = read_provider_files(directory_beside(path)) if files is None else files
    return Configuration(path, load_settings(path, os.environ, known_providers(), data=data, files=files), os.environ)


def files_of_secrets(explicit: Path | None) -> Sequence[SecretFile]:
    """Returns the files that secrets of the same configuration stand in; raises ConfigError."""
    from gateway.settings.load import files_of_secrets, find_config
    from gateway.settings.provider_files import directory_beside, read_provider_files

    path = find_config(explicit, os.environ, Path())
    return files_of_secrets(path, os.environ, read_provider_files(directory_beside(path)))


def known_providers() -> Mapping[str, str]:
    """Returns the id for every id and alias of a built-in provider."""
    from gateway.registry.builtin import load_builtin
    from gateway.registry.provider import DEMO

    known = {DEMO: DEMO}
    for id, row in load_builtin().items():
        known |= {alias.partition("@")[0]: id for alias in row.aliases or ()}
        known[id] = id
    return known


@contextmanager
def located(
    path: Path | None, data: bytes | None = None, files: Sequence[ProviderFile] | None = None
) -> Generator[None]:
    """Gives the faults that are found inside, after loading, their places in the files."""
    from gateway.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        from gateway.settings.load import locate
        from gateway.settings.provider_files import directory_beside, read_provider_files

        files = read_provider_files(directory_beside(path)) if files is None else files
        raise ConfigError(locate(error.faults, path, data, files)) from None
