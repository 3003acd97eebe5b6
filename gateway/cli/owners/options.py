"""Limits, budgets and times as the commands about keys, teams and projects take them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MAX_DIGITS: Final = 19
_BUDGET: Final = "--budget"

NameOption = Annotated[str, typer.Option("--name", help="What people call it.")]
TeamOption = Annotated[str | None, typer.Option("--team", help="Id or name of the team that it belongs to.")]
RpmOption = Annotated[int | None, typer.Option("--rpm", min=0, help="Most requests per minute.")]
TpmOption = Annotated[int | None, typer.Option("--tpm", min=0, help="Most tokens per minute.")]
InFlightOption = Annotated[int | None, typer.Option("--in-flight", min=0, help="Most requests at the same time.")]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget", metavar="USD/WINDOW", help="Most dollars per day, week, month or in total; may be repeated."
    ),
]
NewNameOption = Annotated[str | None, typer.Option("--name", help="Another name.")]
_NEW: Final = "N|none"
NewRpmOption = Annotated[str | None, typer.Option("--rpm", metavar=_NEW, help="Most requests per minute.")]
NewTpmOption = Annotated[str | None, typer.Option("--tpm", metavar=_NEW, help="Most tokens per minute.")]
NewInFlightOption = Annotated[
    str | None, typer.Option("--in-flight", metavar=_NEW, help="Most requests at the same time.")
]
NewBudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget", metavar="USD/WINDOW|none", help="The budgets instead of those that there are; may be repeated."
    ),
]
NewTeamOption = Annotated[
    str | None, typer.Option("--team", metavar="TEAM|none", help="Id or name of the team that it belongs to.")
]
NONE: Final = "none"
"""What an option says that takes something away."""


@dataclass(frozen=True, slots=True)
class NewOwner:
    """What a new key, team or project is to be called and held to."""

    name: NameOption
    rpm: RpmOption = None
    tpm: TpmOption = None
    in_flight: InFlightOption = None
    budget: BudgetOption = None

    def wishes(self) -> dict[str, Any]:
        """Returns what the admin API is to be told."""
        limits = {
            "requests_per_minute": self.rpm,
            "tokens_per_minute": self.tpm,
            "max_in_flight": self.in_flight,
        }
        return {"name": self.name, "limits": limits, "budgets": _budgets(self.budget or ())}


@dataclass(frozen=True, slots=True)
class OwnerChanges:
    """What of a name, of limits and budgets is to change."""

    name: NewNameOption = None
    rpm: NewRpmOption = None
    tpm: NewTpmOption = None
    in_flight: NewInFlightOption = None
    budget: NewBudgetOption = None

    def wishes(self, owner: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what the admin API is to be told; limits that are not named stay as the owner has them."""
        named = {
            "requests_per_minute": ("--rpm", self.rpm),
            "tokens_per_minute": ("--tpm", self.tpm),
            "max_in_flight": ("--in-flight", self.in_flight),
        }
        changed = {limit: _number(option, text) for limit, (option, text) in named.items() if text is not None}
        wishes: dict[str, Any] = {} if self.name is None else {"name": self.name}
        if changed:
            wishes["limits"] = {**owner["limits"], **changed}
        if self.budget:
            wishes["budgets"] = [] if self.budget == [NONE] else _budgets(self.budget)
        return wishes


def seconds_of(option: str, text: str) -> int:
    """Returns a time such as `90s`, `12h` or `30d`; what is none is said of the option."""
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time; write 90s, 15m, 12h, 30d or 4w", param_hint=option)
    return int(found[1]) * _SECONDS[found[2]]


def moment_after(option: str, text: str) -> int:
    """Returns when a time from now is over, in milliseconds since 1970."""
    from gateway.storage.base import wall_ms

    return wall_ms() + 1000 * seconds_of(option, text)


def _number(option: str, text: str) -> int | None:
    if text == NONE:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
        raise typer.BadParameter(f"{text!r} is neither a whole number nor `{NONE}`", param_hint=option)
    return int(text)


def _budgets(texts: Sequence[str]) -> list[dict[str, str]]:
    from gateway.access.wishes import nano_usd
    from gateway.errors import InvalidRequest
    from gateway.records import Window

    found: dict[str, dict[str, str]] = {}
    for text in texts:
        usd, _, said = text.partition("/")
        window = said or Window.TOTAL.value
        if window not in list(Window):
            windows = ", ".join(Window)
            raise typer.BadParameter(f"{text!r} must end in one of {windows}, as 100/month", param_hint=_BUDGET)
        if window in found:
            raise typer.BadParameter(f"{text!r} is the second one for {window}", param_hint=_BUDGET)
        try:
            nano_usd(repr(text), usd)
        except InvalidRequest as error:
            raise typer.BadParameter(error.message, param_hint=_BUDGET) from None
        found[window] = {"usd": usd, "window": window}
    return list(found.values())
