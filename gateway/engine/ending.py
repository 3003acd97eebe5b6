"""The end of tasks that nobody wants any more."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks and returns when all have ended, and not before: what they hold is given back then.

    Being cancelled meanwhile changes nothing about that; it is raised at the end.
    """
    for task in tasks:
        task.cancel()
    is_cancelled = False
    while waiting := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError
