"""Two attempts at once: the first that has content wins, and the other one is cancelled at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.engine.answer import Answer, SingleStream
from gateway.engine.ending import end_all

Result = Answer | SingleStream | None
"""None of an attempt that failed."""
Pending = Coroutine[Any, Any, Result]


async def race(first: Pending, second: Callable[[], Pending | None], delay_seconds: float) -> Result:
    """Returns what `first` gives, or, if that takes longer than `delay_seconds`, what comes first of the two.

    None if both have failed. `second` is asked once, and may decide that there is nobody to run. What has lost, or is
    no longer wanted because this is cancelled, has ended when this returns.
    """
    tasks = {asyncio.create_task(first, name="attempt")}
    try:
        done, waiting = await asyncio.wait(tasks, timeout=delay_seconds)
        if not done and (other := second()) is not None:
            task = asyncio.create_task(other, name="hedge")
            tasks.add(task)
            waiting = set(tasks)
        while True:
            for task in done:
                if (result := task.result()) is not None:
                    await _end(tasks - {task})
                    return result
            if not waiting:
                return None
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        await _end(tasks)  # the winner, too, if nobody waits for it any more
        raise


async def _end(tasks: set[asyncio.Task[Result]]) -> None:
    try:
        await end_all(tasks)
    finally:
        for task in tasks:
            # It may have come to its content in the very moment in which nobody wanted it any more.
            if not task.cancelled() and task.exception() is None and isinstance(stream := task.result(), SingleStream):
                await stream.aclose()
