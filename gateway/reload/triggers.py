"""What makes a process read its configuration again without being asked: its file, and SIGHUP."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway.reload.watch import DirectoryWatch, FileWatch
from gateway.settings.provider_files import directory_beside

_STDERR: Final = 2


@asynccontextmanager
async def triggers(reload: Callable[[str], Awaitable[Any]], path: Path | None) -> AsyncGenerator[None]:
    """While it is entered, SIGHUP and changes of the file at `path`, or of providers' files beside it, reload."""
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

    async def provider_changed() -> None:
        await begin("the files of providers have changed")

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    watching: list[asyncio.Task[None]] = []
    if path is not None:
        watches = (FileWatch(path, changed), DirectoryWatch(directory_beside(path), provider_changed))
        watching = [loop.create_task(watch.run(), name="config-watch") for watch in watches]
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        tasks = [*running, *watching]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
