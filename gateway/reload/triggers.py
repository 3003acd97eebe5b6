"""What makes a process read its configuration again without being asked: its file, and SIGHUP."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway.reload.watch import FileWatch

_STDERR: Final = 2


@asynccontextmanager
async def triggers(reload: Callable[[str], Awaitable[Any]], path: Path | None) -> AsyncGenerator[None]:
    """While it is entered, SIGHUP and changes of the file at `path` reload."""
    running: set[asyncio.Task[Any]] = set()
    has_terminal = os.isatty(_STDERR)

    def begin(why: str) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(reload(why))
        running.add(task)
        task.add_done_callback(running.discard)
        return task

    def hung_up() -> None:
        if has_terminal and not os.isatty(_STDERR):
            os.kill(os.getpid(), signal.SIGTERM)  # it is the terminal that was closed
        else:
            begin("SIGHUP")

    async def changed() -> None:
        await begin("the file has changed")

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    watching = None
    if path is not None:
        watching = loop.create_task(FileWatch(path, changed).run(), name="config-watch")
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        tasks = [*running, *([watching] if watching else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
