"""`anyport providers add` and `remove`: one file under `providers.d` for each provider of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_pairs
from gateway.cli.providers.check import ask_provider, probe_pairs
from gateway.cli.providers.discover import members
from gateway.cli.providers.known import load_known

if TYPE_CHECKING:
    from gateway.settings.provider_files import ProviderFile

_OPENAI: Final = "openai"
_LIKE: Final = {"anthropic": "anthropic-compatible"}
"""Protocol -> the row that says how a credential goes there, where that is not the row of the same name."""


def add_provider(
    name: Annotated[str, typer.Option("--name", metavar="ID", help="What models are called by: ID/MODEL.")],
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Base URL, as in http://127.0.0.1:9000/v1.")],
    protocol: Annotated[str, typer.Option(help="What the server speaks.")] = _OPENAI,
    key_env: Annotated[
        str | None, typer.Option("--key-env", metavar="VARIABLE", help="Environment variable that holds its key.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a provider of your own, and ask it for its models; exit code 1 unless it answers."""
    from gateway.settings.provider_files import SUFFIX, ProviderFile, read_provider_files

    directory = _directory(config)
    if refusal := _refusal(config, name):
        typer.echo(refusal, err=True)
        raise typer.Exit(Exit.FAILURE)
    path = directory / f"{name}{SUFFIX}"
    file = ProviderFile(path, _text(url, protocol, key_env).encode())
    configuration = _examined(config, [*read_provider_files(directory), file])
    _write(file)
    probe = ask_provider(configuration, name)
    if isinstance(probe, str):
        said: dict[str, Any] = {"provider": name, "status": "error", "detail": probe}
    else:
        said = members(probe) if as_json else dict(probe_pairs(probe))
    if as_json:
        print_json({"file": str(path), **said})
    else:
        print_pairs([("file", str(path)), *said.items()])
    if isinstance(probe, str) or probe.status != "ok":
        hint = f"{path} is written all the same; `anyport providers remove {name}` takes it away"
        typer.echo(hint, err=True)
        raise typer.Exit(Exit.FAILURE)


def remove_provider(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id, as `providers add` was told it.")],
    config: ConfigOption = None,
) -> None:
    """Remove a provider that has a file of its own, unless a route names it."""
    from gateway.settings.provider_files import read_provider_files

    directory = _directory(config)
    files = read_provider_files(directory)
    found = next((file for file in files if file.id == name), None)
    if found is None:
        known = ", ".join(file.id for file in files) or "none"
        typer.echo(f"no file in {directory} is about {name!r}; those that have one: {known}", err=True)
        raise typer.Exit(Exit.FAILURE)
    _examined(config, [file for file in files if file is not found])
    found.path.unlink()
    typer.echo(f"removed {found.path}")


def _directory(config: Path | None) -> Path:
    import os

    from gateway.settings.load import find_config
    from gateway.settings.provider_files import directory_beside

    return directory_beside(find_config(config, os.environ, Path()))


def _refusal(config: Path | None, name: str) -> str:
    """Says why no provider can get that name: another one has it, in any case, or it is none; "" if one can."""
    named = load_known(config).registry.get(name)
    if named is None:
        is_file_name = Path(name).name == name
        return "" if is_file_name else f"{name!r} cannot be an id: it must be the name of a file, too"
    return f"{name!r} is a name of the provider {named.spec.id!r} already; choose another one"


def _examined(config: Path | None, files: Sequence[ProviderFile]) -> Configuration:
    """Returns the configuration with these files instead of those that are there; raises ConfigError."""
    from gateway.registry.assembly import build_catalogue

    configuration = load_configuration(config, files=files)
    with located(configuration.path, files=files):
        build_catalogue(configuration.settings, configuration.environ)
    return configuration


def _text(url: str, protocol: str, key_env: str | None) -> str:
    """Returns what the file says: where a value may hold a `$` that is meant as it stands, two of them."""
    import yaml

    from gateway.registry.builtin import load_builtin

    row: dict[str, Any] = {"base_url": url.replace("$", "$$")}
    if protocol != _OPENAI:
        row["protocol"] = protocol.replace("$", "$$")
        like = load_builtin().get(_LIKE.get(protocol, protocol))
        row |= {} if like is None else like.model_dump(include={"auth", "headers"}, exclude_none=True)
    if key_env is None:
        row["requires_credential"] = False
    else:
        row["credential_envs"] = [key_env.replace("$", "$$")]
    return "# Written by `anyport providers add`.\n" + yaml.safe_dump(row, sort_keys=False)


def _write(file: ProviderFile) -> None:
    try:
        file.path.parent.mkdir(exist_ok=True)
        with file.path.open("xb") as opened:
            opened.write(file.data)
    except OSError as error:
        typer.echo(f"{file.path} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(Exit.FAILURE) from None
