"""What a process stands on: how many serve beside it, who can reach it, and what keys and limits that allows."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from gateway.errors import InvalidRequest
from gateway.records import NO_LIMITS, Project, Team, VirtualKey
from gateway.settings.model import StateSettings
from gateway.settings.scalars import MEMORY_URL

Owner = VirtualKey | Project | Team


class Standing(Struct, frozen=True):
    """Where a process stands, as its command line says."""

    workers: int = 1
    """Processes that serve as one."""
    demands_keys: bool = False
    """Strangers can reach it: nobody passes without a key, even where there is none."""


ALONE: Final = Standing()
"""One process, for this machine."""


def is_limited(owner: Owner) -> bool:
    """Says whether an owner has limits or budgets that are in force."""
    if isinstance(owner, VirtualKey) and owner.disabled_at_ms is not None:
        return False
    return owner.limits != NO_LIMITS or bool(owner.budgets)


def uncountable(state: StateSettings, standing: Standing) -> str:
    """Says why limits and budgets cannot be counted, "" if they can."""
    if standing.workers < 2 or state.url.reveal() != MEMORY_URL:
        return ""
    return (
        f"limits and budgets of keys, projects and teams need a Redis server with {standing.workers} workers, since "
        "each worker would allow all of them: set state.url to redis://HOST:PORT/DATABASE, or serve without --workers"
    )


def refuse_uncountable(owner: Owner, state: StateSettings, standing: Standing) -> None:
    """Raises InvalidRequest about an owner whose limits or budgets nobody could count."""
    reason = uncountable(state, standing)
    if reason and is_limited(owner):
        raise InvalidRequest(reason, code="invalid_value", param="budgets" if owner.budgets else "limits")
