"""What makes a process read its configuration again without being asked: its files, and SIGHUP."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway.reload.watch import ConfigWatch
from gateway.settings.references import SecretFile

_STDERR: Final = 2


@asynccontextmanager
async def triggers(
    reload: Callable[[str], Awaitable[Any]], path: Path | None, secrets: Callable[[], Sequence[SecretFile]]
) -> AsyncGenerator[None]:
    """While it is entered, SIGHUP and changes of files reload: of that at `path`, of what is beside it, of secrets.

    `secrets` says in which files those stand.
    """
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

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    watching: list[asyncio.Task[None]] = []
    if path is not None:
        watching.append(loop.create_task(ConfigWatch(path, begin, secrets).run(), name="config-watch"))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        tasks = [*running, *watching]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
