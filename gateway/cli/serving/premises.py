"""What storage has to say before anything is served: that it can be used, who may call, and what they are held to."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.access.premises import Standing, is_limited, uncountable
from gateway.errors import ConfigError, Fault
from gateway.settings.model import Settings
from gateway.shared import Stored
from gateway.storage.base import Owners, StorageUnavailable
from gateway.storage.factory import DATA_VARIABLE, DATABASE_FILE

if TYPE_CHECKING:
    from gateway.runtime import Runtime

LOOK_SECONDS: Final = 2.0
_FILE: Final = "anyport.yaml"

_log = logging.getLogger("anyport.access")


@dataclass(frozen=True, slots=True)
class Stock:
    """What is stored, as far as that matters to a start or a reload."""

    has_keys: bool | None
    """None if nobody knows."""
    limited: str = ""
    """The name of somebody who has limits or budgets, "" if nobody does."""


def stock_of(settings: Settings, environ: Mapping[str, str]) -> Stock:
    """Returns what is in storage, whose tables are up to date then.

    Raises ConfigError about storage that can never be used. That it is away keeps nobody from serving.
    """
    if _is_new_place(Stored(settings, environ)):
        return Stock(has_keys=False)
    try:
        owners = asyncio.run(_read(settings, environ))
    except StorageUnavailable:
        return Stock(None)
    except ConfigError as error:
        if _may_be_absent(settings, environ):
            return Stock(has_keys=False)
        if settings.storage.url is not None:
            raise
        faults = [Fault(each.file, 0, 0, "storage.directory", each.message) for each in error.faults]
        raise ConfigError(faults) from None
    limited = (each.name for each in (*owners.keys, *owners.projects, *owners.teams) if is_limited(each))
    return Stock(bool(owners.keys), next(limited, ""))


def refuse(settings: Settings, standing: Standing, stock: Stock) -> None:
    """Raises ConfigError about settings with which this stock must not be served."""
    faults: list[Fault] = []
    if standing.demands_keys and stock.has_keys is False and not settings.server.api_keys:
        message = (
            f"no API key is there, and other machines can reach {settings.server.host}: set server.api_keys, make a "
            "key with `anyport keys create --name NAME`, listen on 127.0.0.1, or start with --allow-unauthenticated"
        )
        faults.append(Fault(_FILE, 0, 0, "server.api_keys", message))
    reason = uncountable(settings.state, standing)
    if reason and stock.limited:
        faults.append(Fault(_FILE, 0, 0, "state.url", f"{reason}; {stock.limited!r} has some"))
    if faults:
        raise ConfigError(faults)


def refuse_half_written(before: Settings, after: Settings, data: bytes | None, *, has_keys: bool) -> None:
    """Raises ConfigError about a reload that would undo all settings, or let everybody in where a key was needed.

    Both are what a file looks like while somebody writes it anew. `has_keys` if keys are stored.
    """
    if data is not None and not data.strip() and after != before:
        raise ConfigError([Fault(_FILE, 0, 0, "", "the file is empty; to go on without any settings, restart")])
    if before.server.api_keys and not after.server.api_keys and not has_keys:
        message = "the last API key is gone from the file: everybody could call; if that is meant, restart"
        raise ConfigError([Fault(_FILE, 0, 0, "server.api_keys", message)])


async def watch_limits(current: Callable[[], Runtime]) -> None:
    """Tells in the log, once, of limits that were made behind the back of a gateway that cannot count them."""
    told = ""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        runtime = current()
        reason = uncountable(runtime.settings.state, runtime.standing)
        name = next(runtime.shared.stored.thing.picture.limited(), "") if reason else ""
        if name and not told:
            _log.error("%r is allowed more than its limits: %s", name, reason)
        told = name


def _is_new_place(stored: Stored) -> bool:
    """Says whether nothing is stored yet and something can be: then storage is loaded by the first who wants it."""
    if not stored.is_absent():
        return False
    there = next(each for each in (stored.directory, *stored.directory.parents) if each.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


async def _read(settings: Settings, environ: Mapping[str, str]) -> Owners:
    stored = Stored(settings, environ)
    try:
        await stored.storage.upgrade()
        return await stored.storage.owners(0)
    finally:
        await stored.aclose()


def _may_be_absent(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Says whether nobody chose the place where nothing can be stored, and nothing is there."""
    storage = settings.storage
    if storage.url or storage.directory or environ.get(DATA_VARIABLE):
        return False
    path = Stored(settings, environ).directory / DATABASE_FILE
    try:
        return not path.exists()
    except OSError:
        return True
