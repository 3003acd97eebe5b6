"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings; default: $ANYPORT_CONFIG, else ./anyport.yaml."),
]
UnauthenticatedOption = Annotated[
    bool, typer.Option("--allow-unauthenticated", help="Serve other machines without any API key.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def with_grouped_options(command: Callable[..., None]) -> Callable[..., None]:
    """Returns a command that has each option of its dataclass parameters as an option of its own."""
    parameters: list[Parameter] = []
    groups: dict[str, type[Any]] = {}
    hints = get_type_hints(command, include_extras=True)
    for parameter in signature(command).parameters.values():
        kind = hints[parameter.name]
        if isinstance(kind, type) and is_dataclass(kind):
            groups[parameter.name] = kind
            members = get_type_hints(kind, include_extras=True)
            parameters += [
                Parameter(each.name, Parameter.KEYWORD_ONLY, default=_default(each), annotation=members[each.name])
                for each in fields(kind)
            ]
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=kind))

    @wraps(command)
    def taking_each(**said: Any) -> None:
        for name, kind in groups.items():
            said[name] = kind(**{each.name: said.pop(each.name) for each in fields(kind)})
        command(**said)

    # What typer reads: the name of each parameter, and with it the annotation that says how it is written.
    setattr(taking_each, "__signature__", Signature(parameters))  # noqa: B010
    taking_each.__annotations__ = {each.name: each.annotation for each in parameters}
    return taking_each


def _default(member: Field[Any]) -> Any:
    return Parameter.empty if member.default is MISSING else member.default
